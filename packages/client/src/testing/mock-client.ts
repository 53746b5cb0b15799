import { BehaviorSubject, type Observable, of, ReplaySubject, takeUntil } from 'rxjs';
import { coldStream } from '../answer/cold-stream.js';
import { isFinal } from '../answer/snapshot.js';
import { createStart } from '../output/create-start.js';
import type { ActiveAnswer, AnswerRequest, Client, ConnectionState } from '../types.js';
import { MockAnswer } from './mock-answer.js';
import { checkScript, type Script } from './script.js';

const CONNECTED: ConnectionState = { status: 'connected' };

export interface MockClientOptions {
  /** The source of `connection$` until the client is closed; `connected` by default. */
  connection$?: Observable<ConnectionState> | undefined;
}

/**
 * A client that plays `script` for every question: no server, no socket, no cache. A call with `awaits: 'result'` runs
 * `execute` of the page's tool with its name, as with a real client. Its clock is
 * RxJS's `asyncScheduler`, so `TestScheduler.run` makes its time virtual.
 *
 * @throws {TypeError} a step has an unknown type; for a function, when the question is asked.
 */
export function createMockClient(
  script: Script | ((request: AnswerRequest) => Script),
  { connection$ = of(CONNECTED) }: MockClientOptions = {},
): Client {
  if (typeof script !== 'function') checkScript(script);
  const answers = new Map<string, MockAnswer>();
  const active$ = new BehaviorSubject<readonly ActiveAnswer[]>([]);
  const closed$ = new ReplaySubject<void>(1);
  const state$ = new ReplaySubject<ConnectionState>(1);
  connection$.pipe(takeUntil(closed$)).subscribe((state) => state$.next(state));

  function ask(request: AnswerRequest): MockAnswer {
    const steps = typeof script === 'function' ? checkScript(script(request)) : script;
    const answer = new MockAnswer(`answer-${answers.size + 1}`, request, steps, list);
    answers.set(answer.id, answer);
    list();
    return answer;
  }

  function list(): void {
    const now = [...answers.values()].flatMap(({ snapshot, request }) => {
      const { id, query, status } = snapshot;
      if (isFinal(snapshot)) return [];
      return [{ id, query, sessionId: request.sessionId, status } as ActiveAnswer];
    });
    if (JSON.stringify(now) !== JSON.stringify(active$.value)) active$.next(now);
  }

  return {
    stream: (request) => coldStream(() => ask(request), request.options?.onUnsubscribe),
    start: createStart((request) => ask(request).createHandle()),
    resume(id, { tools } = {}) {
      const unknown: Script = [{ type: 'error', code: 'not_found' }];
      const answer = answers.get(id) ?? new MockAnswer(id, { query: '' }, unknown);
      answer.runTools(tools);
      return answer.createHandle();
    },
    active$: active$.asObservable(),
    connection$: state$.asObservable(),
    cache: { clear: () => Promise.resolve() },
    close() {
      for (const answer of answers.values()) answer.cancel();
      closed$.next();
      state$.next({ status: 'closed' });
      state$.complete();
      active$.complete();
    },
  };
}
