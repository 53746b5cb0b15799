import { StreamError } from '@rivulet/protocol';
import { BehaviorSubject, Observable, Subscription, timer } from 'rxjs';
import { perFrame } from '../operators/per-frame.js';
import type {
  Answer,
  AnswerFields,
  AnswerRequest,
  AnswerSnapshot,
  Client,
  OutputAnswer,
  ResumeOptions,
  Schema,
  ToolReply,
} from '../types.js';

/** The state of a view: a snapshot of its answer, or `idle` before the first question. */
export type AnswerState = AnswerSnapshot | Idle;

/** The state before the first question. It has the fields of a snapshot, all of them empty. */
export interface Idle extends AnswerFields {
  readonly status: 'idle';
  readonly error: undefined;
}

/** Options of a view that shows answers. */
export interface UseAnswerOptions {
  /**
   * The treatment of a running answer when the view is unmounted: `keep` (the default) continues reading, so that a
   * view that is mounted again has the whole text; `cancel` ends the answer for all its readers.
   */
  onUnmount?: 'keep' | 'cancel' | undefined;
  /** An answer to show at first, such as one that was started elsewhere. Its owner releases it. */
  answer?: Answer | undefined;
}

/** The actions of a view. */
export interface AnswerActions {
  /**
   * Asks, and releases the answer before. It goes out once the view is mounted.
   *
   * @returns the answer, with its `output` if the question has one; undefined if the view is not mounted yet.
   */
  ask<T>(question: AnswerRequest & { output: Schema<T> }): OutputAnswer<T> | undefined;
  ask(question: string | AnswerRequest): Answer | undefined;
  /**
   * Shows an answer under way, such as one of `client.active$` after a reload, and releases the one before. Takes the
   * options of `client.resume`: `tools` run the calls that wait for this page.
   *
   * @returns the answer; undefined if the view is not mounted yet.
   */
  resume(id: string, options?: ResumeOptions): Answer | undefined;
  /** Shows an answer whose handle belongs to another owner, and releases the one before. */
  show(answer: Answer): void;
  /**
   * Answers a call with the status `awaiting` of the answer that is shown, as `reply` of an `Answer` does.
   *
   * @throws {StreamError} by its promise: not_found, if no answer is shown; else as `Answer.reply`.
   */
  reply(callId: string, reply: ToolReply): Promise<void>;
  /** Ends the answer; its text stays. */
  stop(): void;
  /**
   * Asks the last question again, after a failure. Nothing happens when nothing was asked.
   *
   * @throws {StreamError} bad_request, if this browser knows only the id of the answer.
   */
  retry(): Answer | undefined;
  /** Asks the model again, past this browser's and the server's cache. Throws as `retry` does. */
  regenerate(): Answer | undefined;
}

/** The questions of one view, one after the other. All bindings subscribe to it. */
export interface AnswerController {
  /** Always the same functions. */
  readonly actions: AnswerActions;
  /**
   * The state at once, then at most one for each animation frame; never errors and never completes.
   * The first subscriber mounts the view, the last to leave unmounts it.
   */
  readonly state$: Observable<AnswerState>;
  /** The newest value of `state$`; the same object until it changes. */
  getSnapshot(): AnswerState;
}

/** The answer that a view shows. A handle that was passed in is released by its owner, not by the view. */
type ViewTarget =
  | { request: AnswerRequest }
  | { id: string; options: ResumeOptions | undefined }
  | { answer: Answer };

export const IDLE: Idle = Object.freeze({
  id: '',
  query: '',
  status: 'idle',
  ahead: undefined,
  loading: undefined,
  text: '',
  thoughts: '',
  tools: Object.freeze([]),
  attempt: 0,
  source: undefined,
  provider: undefined,
  model: undefined,
  restartReason: undefined,
  omittedMessages: 0,
  requestId: undefined,
  finishReason: undefined,
  usage: undefined,
  retryAt: undefined,
  timing: undefined,
  error: undefined,
});

export function createAnswerController(
  client: Client,
  { onUnmount = 'keep', answer: given }: UseAnswerOptions = {},
): AnswerController {
  const states$ = new BehaviorSubject<AnswerState>(given?.getSnapshot() ?? IDLE);
  let target: ViewTarget | undefined = given && { answer: given };
  /** The handle of the answer that is shown, once it was requested. A view that is never mounted, as on a server, asks nothing. */
  let answer: Answer | undefined;
  let subscription = new Subscription();
  let mountCount = 0;

  function replace(next: ViewTarget | undefined): Answer | undefined {
    subscription.unsubscribe();
    if (target !== undefined && !('answer' in target)) answer?.release();
    target = next;
    answer = undefined;
    return mountCount > 0 ? read() : undefined;
  }

  function read(): Answer | undefined {
    if (target === undefined) return undefined;
    answer ??= answerOf(target);
    subscription = answer.state$.pipe(perFrame()).subscribe((state) => states$.next(state));
    return answer;
  }

  function answerOf(what: ViewTarget): Answer {
    if ('answer' in what) return what.answer;
    return 'id' in what ? client.resume(what.id, what.options) : client.start(what.request);
  }

  function onUnmounted(): void {
    subscription.unsubscribe();
    if (onUnmount === 'keep') return;
    // A view that is mounted twice, as in React's StrictMode, is back in this turn.
    timer(0).subscribe(() => {
      if (mountCount === 0) answer?.cancel();
    });
  }

  /** @returns the request of the current answer; undefined before the first question. */
  function requestToRepeat(): AnswerRequest | undefined {
    if (target === undefined) return undefined;
    const request = answer?.request ?? ('request' in target ? target.request : undefined);
    if (request !== undefined) return request;
    throw new StreamError(
      'bad_request',
      'unable to ask again: this browser knows only the id of the answer; ask the question itself',
    );
  }

  return {
    state$: new Observable((subscriber) => {
      mountCount += 1;
      if (mountCount === 1) read();
      subscriber.add(states$.subscribe(subscriber));
      return () => {
        mountCount -= 1;
        if (mountCount === 0) onUnmounted();
      };
    }),
    getSnapshot: () => states$.value,
    actions: {
      ask<T>(next: string | (AnswerRequest & { output?: Schema<T> | undefined })) {
        const request = typeof next === 'string' ? { query: next } : next;
        // `client.start()` returns an answer with an output if the request has one.
        return replace({ request }) as OutputAnswer<T> | undefined;
      },
      resume: (id, options) => replace({ id, options }),
      show: (next) => void replace({ answer: next }),
      reply: async (callId, reply) => {
        if (answer !== undefined) return answer.reply(callId, reply);
        throw new StreamError('not_found', 'unable to answer the call: no answer is shown');
      },
      stop() {
        if (answer === undefined) replace(undefined);
        else answer.cancel();
      },
      retry() {
        const request = requestToRepeat();
        return request && replace({ request });
      },
      regenerate() {
        const request = requestToRepeat();
        return (
          request &&
          replace({ request: { ...request, options: { ...request.options, cache: 'reload' } } })
        );
      },
    },
  };
}
