import { BehaviorSubject, Observable, Subscription } from 'rxjs';
import { perFrame } from '../per-frame.js';
import type { Answer, AnswerSnapshot, AnswerRequest, Client } from '../types.js';

/** What a view shows: the answer as it stands, or `idle` while nothing was asked. */
export type AnswerState = AnswerSnapshot | Idle;

/** Nothing was asked yet. It has the fields of a snapshot, all of them empty. */
export interface Idle extends Omit<AnswerSnapshot, 'status'> {
  readonly status: 'idle';
}

/** What a view can do. */
export interface AnswerActions {
  /** Asks, and leaves the answer before. It goes out once the view is mounted. */
  ask(question: string | AnswerRequest): void;
  /** Shows an answer under way, such as one of `client.active$` after a reload, and leaves the one before. */
  resume(id: string): void;
  /** Ends the answer; its text stays. */
  stop(): void;
  /** Asks the last question again. Nothing happens when there is none. */
  retry(): void;
}

/** One view's questions, one after the other: what all bindings are drawn from. */
export interface AnswerController extends AnswerActions {
  /**
   * The state at once, then at most one for each animation frame; never errors and never completes.
   * The first subscriber mounts the view, the last to leave unmounts it: that detaches the answer,
   * and who comes back within the server's grace reads on.
   */
  readonly state$: Observable<AnswerState>;
  /** The newest that `state$` gave; the same object until it changes. */
  getSnapshot(): AnswerState;
}

type Question = { ask: AnswerRequest } | { id: string };

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
  requestId: undefined,
  finishReason: undefined,
  usage: undefined,
  retryAt: undefined,
  timing: undefined,
  error: undefined,
});

export function createAnswerController(client: Client): AnswerController {
  const states$ = new BehaviorSubject<AnswerState>(IDLE);
  let question: Question | undefined;
  /** Of the question, once it went out: what is never mounted, as on a server, asks nothing. */
  let answer: Answer | undefined;
  let reading = new Subscription();
  let mounted = 0;

  function put(next: Question | undefined): void {
    question = next;
    answer = undefined;
    if (mounted > 0) read();
  }

  function read(): void {
    reading.unsubscribe();
    if (question === undefined) return;
    answer ??= 'id' in question ? client.resume(question.id) : client.start(question.ask);
    const current = answer;
    current.resume();
    reading = current.state$.pipe(perFrame()).subscribe((state) => states$.next(state));
    reading.add(() => current.release());
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
    ask: (next) => put({ ask: typeof next === 'string' ? { query: next } : next }),
    resume: (id) => put({ id }),
    stop() {
      if (answer === undefined) put(undefined);
      else answer.cancel();
    },
    retry() {
      if (question === undefined) return;
      put('ask' in question ? question : { ask: { query: states$.value.query } });
    },
  };
}
