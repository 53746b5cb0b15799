import { type ErrorCode, StreamError } from '@rivulet/protocol';
import {
  asyncScheduler,
  BehaviorSubject,
  concatMap,
  first,
  from,
  map,
  type Observable,
  Subscription,
  timer,
} from 'rxjs';
import { type AnswerOwner, SharedAnswer } from '../answer/shared-answer.js';
import type { ColdAnswer } from '../answer/cold-stream.js';
import { phaseOfFailure } from '../answer/failure.js';
import { NOTHING_RECEIVED } from '../answer/receive.js';
import { receiveEvent } from '../answer/receive-event.js';
import { copyRequest } from '../answer/request.js';
import { runTools } from '../answer/run-tools.js';
import { replayEvents, type Phase, createSnapshot } from '../answer/snapshot.js';
import type {
  Answer,
  AnswerRequest,
  AnswerSnapshot,
  AnswerTiming,
  ClientTool,
  ResponseEvent,
  ToolReply,
} from '../types.js';
import type { Script, Step } from './script.js';

// As a server's.
const DETACH_TIMEOUT_MS = 2_000;

type EventStep = Exclude<Step, { type: 'error' | 'reconnecting' }>;

/** An answer to which happens what the script says, from now on. */
export class MockAnswer implements AnswerOwner, ColdAnswer {
  readonly id: string;
  readonly request: AnswerRequest;
  readonly #original: AnswerRequest;
  readonly #startedAt = asyncScheduler.now();
  readonly #shared: SharedAnswer;
  readonly #playback: Subscription;
  readonly #onChange: () => void;
  readonly #paused$ = new BehaviorSubject(false);
  #received = NOTHING_RECEIVED;
  #isCached = false;
  #firstChunkMs: number | undefined;
  #phase: Phase = { status: 'open' };
  #hasHandle = true;
  #detachTimeout = new Subscription();
  #wasAbandoned = false;
  #tools: readonly ClientTool[];
  readonly #startedCalls = new Map<string, AbortController>();
  /** Aborted when the answer is final. */
  readonly #toolAbort = new AbortController();

  /** `onChange` is called when a snapshot is new. */
  constructor(id: string, asked: AnswerRequest, script: Script, onChange: () => void = () => {}) {
    this.id = id;
    this.#original = asked;
    this.request = copyRequest(asked);
    this.#tools = asked.tools ?? [];
    this.#onChange = onChange;
    this.#shared = new SharedAnswer(this.#snapshot(), this);
    this.#playback = from(script)
      .pipe(
        concatMap((step) => this.#unpaused(() => timer(this.#waitMs(step))).pipe(map(() => step))),
      )
      .subscribe((step) => this.#play(step));
    const { signal } = asked.options ?? {};
    signal?.addEventListener('abort', this.#onAbort);
    if (signal?.aborted) this.cancel();
  }

  get current(): MockAnswer {
    return this;
  }

  get snapshot(): AnswerSnapshot {
    return this.#shared.current;
  }

  get wasAbandoned(): boolean {
    return this.#wasAbandoned;
  }

  createHandle(): Answer {
    return this.#shared.createHandle();
  }

  cancel(): void {
    if (!this.#shared.isFinal) this.#end({ status: 'cancelled', timing: this.#timing() });
  }

  reply(callId: string, reply: ToolReply): Promise<void> {
    const call = this.#received.tools.find((use) => use.callId === callId);
    const refuse = (code: ErrorCode, reason: string): Promise<never> =>
      Promise.reject(new StreamError(code, `unable to answer the call: ${reason}`));
    if (call?.awaits === undefined) return refuse('not_found', 'no such call waits');
    if (call.status !== 'awaiting' || this.#shared.isFinal)
      return refuse('conflict', 'it has another reply, or has ended');
    if ('approved' in reply !== (call.awaits === 'approval'))
      return refuse('bad_request', 'it waits for something else');
    const { name } = call;
    if ('approved' in reply) {
      const { approved } = reply;
      this.#emit(this.#apply({ type: 'tool_decision', callId, name, approved }));
      if (!approved) {
        const error = 'the user refused the call';
        this.#emit(this.#apply({ type: 'tool_result', callId, name, error }));
      }
    } else this.#emit(this.#apply({ type: 'tool_result', callId, name, ...reply }));
    this.#paused$.next(false);
    return Promise.resolve();
  }

  /** Replaces the tools of the page, and runs the calls that wait for them. */
  runTools(tools: readonly ClientTool[] = this.#tools): void {
    this.#tools = tools;
    const { snapshot } = this;
    // Answers of two mock clients have the same ids, so there is no lock.
    runTools(snapshot.tools, tools, this.#startedCalls, this.#toolAbort.signal, {
      snapshot,
      isActive: true,
      reply: (callId, reply) => this.reply(callId, reply),
    });
  }

  /** Gives `next` once no call waits. */
  #unpaused<T>(next: () => Observable<T>): Observable<T> {
    return this.#paused$.pipe(
      first((isPaused) => !isPaused),
      concatMap(next),
    );
  }

  onLastRelease(): void {
    this.#hasHandle = false;
    this.#detachTimeout = timer(DETACH_TIMEOUT_MS).subscribe(() => {
      if (this.#phase.status === 'done' || this.#phase.status === 'failed') return;
      this.#wasAbandoned = true;
      this.#playback.unsubscribe();
      this.#phase = { status: 'cancelled', timing: this.#timing() };
    });
  }

  onFirstHandle(): void {
    if (this.#hasHandle) return;
    this.#detachTimeout.unsubscribe();
    this.#hasHandle = true;
    this.#emit(replayEvents(this.#snapshot()));
  }

  readonly #onAbort = (): void => this.cancel();

  /** A question that is refused as `rate_limited` waits, if it was asked to. */
  #isWaitingStep(step: Step): step is Extract<Step, { type: 'error' }> & { retryAfterMs: number } {
    const { onRateLimit } = this.#original.options ?? {};
    const isLimited = step.type === 'error' && step.code === 'rate_limited';
    return isLimited && onRateLimit === 'wait' && step.retryAfterMs !== undefined;
  }

  #waitMs(step: Step): number {
    const limitedMs =
      this.#phase.status === 'limited' ? this.#phase.retryAt - asyncScheduler.now() : 0;
    return Math.max(step.afterMs ?? 0, limitedMs);
  }

  #play(step: Step): void {
    if (this.#isWaitingStep(step)) {
      this.#phase = { status: 'limited', retryAt: asyncScheduler.now() + step.retryAfterMs };
      this.#emit([]);
    } else if (step.type === 'error') {
      const { code, message = `unable to finish the answer: ${code}`, retryable } = step;
      const failure = {
        code,
        message,
        ...(retryable !== undefined && { retryable }),
        ...(step.retryAfterMs !== undefined && { retry_after_ms: step.retryAfterMs }),
      };
      const { text } = this.#received;
      this.#end(phaseOfFailure(failure, text, this.#timing(), asyncScheduler.now()));
    } else if (step.type === 'reconnecting') {
      this.#phase = { status: 'reconnecting' };
      this.#emit([]);
    } else {
      if (step.type === 'tool_call' && step.awaits !== undefined) this.#paused$.next(true);
      this.#emit(this.#apply(step));
    }
  }

  #apply(step: EventStep): ResponseEvent[] {
    const needsStart = step.type !== 'start' && step.type !== 'queued' && step.type !== 'loading';
    const started =
      needsStart && this.#received.attempt === undefined ? this.#apply({ type: 'start' }) : [];
    const event = this.#eventOf(step);
    if (event.type === 'start') this.#isCached = event.source === 'browser-cache';
    this.#received = receiveEvent(this.#received, event);
    if (this.#received.text !== '') this.#firstChunkMs ??= this.#elapsedMs();
    this.#phase =
      event.type === 'end' ? { status: 'done', timing: event.timing } : { status: 'open' };
    return [...started, event];
  }

  #eventOf(step: EventStep): ResponseEvent {
    if (step.type === 'start') {
      const attempt = (this.#received.attempt?.attempt ?? 0) + 1;
      return { attempt, source: 'model', provider: 'test', model: 'script', ...step };
    }
    if (step.type === 'end')
      return { finishReason: 'stop', usage: {}, timing: this.#timing(), ...step };
    return step;
  }

  #end(final: Phase): void {
    this.#playback.unsubscribe();
    this.#phase = final;
    this.#emit([]);
  }

  #emit(events: readonly ResponseEvent[]): void {
    if (!this.#hasHandle) return;
    this.#shared.next(this.#snapshot(), events);
    this.#onChange();
    if (!this.#shared.isFinal) return this.runTools();
    this.#toolAbort.abort();
    this.#original.options?.signal?.removeEventListener('abort', this.#onAbort);
  }

  #snapshot(): AnswerSnapshot {
    const asked = { id: this.id, query: this.#original.query, isCached: this.#isCached };
    return createSnapshot(asked, this.#received, this.#phase);
  }

  #timing(): AnswerTiming {
    const firstChunkMs = this.#firstChunkMs;
    return { totalMs: this.#elapsedMs(), ...(firstChunkMs !== undefined && { firstChunkMs }) };
  }

  #elapsedMs(): number {
    return asyncScheduler.now() - this.#startedAt;
  }
}
