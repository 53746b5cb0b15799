import { ReplaySubject } from 'rxjs';
import { type ColdSource, coldStream } from '../cold-stream.js';
import type { Ask, Client, ConnectionStatus } from '../types.js';
import { playScript } from './play-script.js';
import type { Script } from './script.js';

/**
 * A client that plays `script` for every question: no server, no socket, no cache. Its clock is
 * RxJS's `asyncScheduler`, so `TestScheduler.run` makes its time virtual.
 */
export function createTestClient(script: Script | ((ask: Ask) => Script)): Client {
  const responses: ColdSource[] = [];
  const connection$ = new ReplaySubject<ConnectionStatus>(1);
  connection$.next('online');

  function open(ask: Ask): ColdSource {
    const steps = typeof script === 'function' ? script(ask) : script;
    const response = playScript(`answer-${responses.length + 1}`, ask, steps);
    responses.push(response);
    return response;
  }

  return {
    stream: (ask) => coldStream(() => open(ask)),
    start: (ask) => open(ask).answer,
    connection$: connection$.asObservable(),
    cache: { clear: () => Promise.resolve() },
    close() {
      for (const { answer } of responses) answer.cancel();
      connection$.next('closed');
      connection$.complete();
    },
  };
}
