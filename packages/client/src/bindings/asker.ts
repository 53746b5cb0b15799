import { BehaviorSubject, Observable, of, ReplaySubject, share, switchMap, tap } from 'rxjs';
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
  timing: undefined,
  error: undefined,
});

export function createAsker(client: Client): Asker {
  const asked$ = new BehaviorSubject<Asked | undefined>(undefined);
  let state: AskState = IDLE;

  const state$ = asked$.pipe(
    switchMap((asked) => asked?.state$ ?? of(IDLE)),
    tap((next) => (state = next)),
    share({ connector: () => new ReplaySubject(1) }),
  );

  const put = (question: Ask): void => asked$.next(createAsked(client, question));

  return {
    state$,
    getSnapshot: () => state,
    ask: (question) => put(typeof question === 'string' ? { query: question } : question),
    stop() {
      const answer = asked$.value?.answer();
      if (answer !== undefined) answer.cancel();
      else if (asked$.value !== undefined) asked$.next(undefined);
    },
    retry: () => asked$.value && put(asked$.value.question),
  };
}

/** A question of a view. */
interface Asked {
  readonly question: Ask;
  readonly state$: Observable<AskState>;
  /** Undefined until it went out. */
  answer(): Answer | undefined;
}

/** Asks when it is first subscribed to, so that what is never mounted, as on a server, asks nothing. */
function createAsked(client: Client, question: Ask): Asked {
  let answer: Answer | undefined;
  return {
    question,
    state$: new Observable((subscriber) => {
      const mounted = (answer ??= client.start(question));
      mounted.attach();
      subscriber.add(() => mounted.detach());
      subscriber.add(mounted.state$.pipe(perFrame()).subscribe((next) => subscriber.next(next)));
    }),
    answer: () => answer,
  };
}
