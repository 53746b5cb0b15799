import { BehaviorSubject, distinctUntilKeyChanged, ReplaySubject } from 'rxjs';
import { type ColdSource, coldStream } from '../answer/cold-stream.js';
import type { ActiveAnswer, AnswerRequest, Client, ConnectionState } from '../types.js';
import { playScript } from './play-script.js';
import type { Script } from './script.js';

/**
 * A client that plays `script` for every question: no server, no socket, no cache. Its clock is
 * RxJS's `asyncScheduler`, so `TestScheduler.run` makes its time virtual.
 */
export function createMockClient(script: Script | ((ask: AnswerRequest) => Script)): Client {
  const responses: ColdSource[] = [];
  const active$ = new BehaviorSubject<readonly ActiveAnswer[]>([]);
  const connection$ = new ReplaySubject<ConnectionState>(1);
  connection$.next({ status: 'connected' });

  function open(ask: AnswerRequest): ColdSource {
    const steps = typeof script === 'function' ? script(ask) : script;
    const response = playScript(`answer-${responses.length + 1}`, ask, steps);
    responses.push(response);
    const { sessionId } = ask;
    const statuses$ = response.answer.state$.pipe(distinctUntilKeyChanged('status'));
    statuses$.subscribe(({ id, query, status }) => {
      const isOver = status === 'done' || status === 'cancelled' || status === 'failed';
      const now = isOver ? [] : [{ id, query, sessionId, status }];
      const before = active$.value;
      const at = before.findIndex((active) => active.id === id);
      active$.next(at < 0 ? [...before, ...now] : before.toSpliced(at, 1, ...now));
    });
    return response;
  }

  return {
    stream: (ask) => coldStream(() => open(ask)),
    start: (ask) => open(ask).answer,
    resume(id) {
      const known = responses.find(({ answer }) => answer.id === id);
      known?.resume();
      const unknown: Script = [{ type: 'error', code: 'not_found' }];
      return (known ?? playScript(id, { query: '' }, unknown)).answer;
    },
    active$: active$.asObservable(),
    connection$: connection$.asObservable(),
    cache: { clear: () => Promise.resolve() },
    close() {
      for (const { answer } of responses) answer.cancel();
      connection$.next({ status: 'closed' });
      connection$.complete();
      active$.complete();
    },
  };
}
