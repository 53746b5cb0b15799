import { BehaviorSubject, Observable, Subscription } from 'rxjs';
import { perFrame } from '../per-frame.js';
import type { Answer, AnswerSnapshot, Ask, Client } from '../types.js';

/** What a view shows: the answer as it stands, or `idle` while nothing was asked. */
export type AskState = AnswerSnapshot | Idle;

/** Nothing was asked yet. It has the fields of a snapshot, all of them empty. */
export interface Idle extends Omit<AnswerSnapshot, 'status'> {
  readonly status: 'idle';
}

/** What a view can do. */
export interface AskActions {
  /** Asks, and leaves the answer before. It goes out once the view is mounted. */
  ask(question: string | Ask): void;
  /** Ends the answer; its text stays. */
  stop(): void;
  /** Asks the last question again. Nothing happens when there is none. */
  retry(): void;
}

/** One view's questions, one after the other: what all bindings are drawn from. */
export interface Asker extends AskActions {
  /**
   * The state at once, then at most one for each animation frame; never errors and never completes.
   * The first subscriber mounts the view, the last to leave unmounts it: that detaches the answer,
   * and who comes back within the server's grace reads on.
   */
  readonly state$: Observable<AskState>;
  /** The newest that `state$` gave; the same object until it changes. */
  getSnapshot(): AskState;
}

export const IDLE: Idle = Object.freeze({
  id: '',
  query: '',
  status: 'idle',
  ahead: undefined,
  text: '',
  tools: Object.freeze([]),
  attempt: 0,
  source: undefined,
  provider: undefined,
  model: undefined,
  restartReason: undefined,
  finishReason: undefined,
  usage: undefined,
  retryAt: undefined,
  timing: undefined,
  error: undefined,
});

export function createAsker(client: Client): Asker {
  const states$ = new BehaviorSubject<AskState>(IDLE);
  let question: Ask | undefined;
  /** Of the question, once it went out: what is never mounted, as on a server, asks nothing. */
  let answer: Answer | undefined;
  let reading = new Subscription();
  let mounted = 0;

  function put(next: Ask | undefined): void {
    question = next;
    answer = undefined;
    if (mounted > 0) read();
  }

  function read(): void {
    reading.unsubscribe();
    if (question === undefined) return;
    const current = (answer ??= client.start(question));
    current.attach();
    reading = current.state$.pipe(perFrame()).subscribe((state) => states$.next(state));
    reading.add(() => current.detach());
  }

  return {
    state$: new Observable((subscriber) => {
      mounted += 1;
      if (mounted === 1) read();
      subscriber.add(states$.subscribe(subscriber));
      return () => {
        mounted -= 1;
        if (mounted === 0) reading.unsubscribe();
      };
    }),
    getSnapshot: () => states$.value,
    ask: (next) => put(typeof next === 'string' ? { query: next } : next),
    stop() {
      if (answer === undefined) put(undefined);
      else answer.cancel();
    },
    retry() {
      if (question !== undefined) put(question);
    },
  };
}
