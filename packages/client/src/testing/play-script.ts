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
import { type AnswerOwner, SharedAnswer } from '../answer/answer.js';
import type { ColdSource } from '../answer/cold-stream.js';
import { phaseOfFailure } from '../answer/failure.js';
import { NOTHING } from '../answer/receive.js';
import { receiveEvent } from '../answer/receive-event.js';
import { copyOf } from '../answer/request.js';
import { eventsOf, type Phase, snapshotOf } from '../answer/snapshot.js';
import type {
  Answer,
  AnswerRequest,
  AnswerSnapshot,
  AnswerTiming,
  ResponseEvent,
  ToolReply,
} from '../types.js';
import type { Script, Step } from './script.js';

// As a server's.
const DETACH_GRACE_MS = 2_000;

type EventStep = Exclude<Step, { type: 'error' | 'reconnecting' }>;

/** An answer to which happens what the script says, from now on. */
export class ScriptedAnswer implements AnswerOwner, ColdSource {
  readonly id: string;
  readonly request: AnswerRequest;
  readonly #asked: AnswerRequest;
  readonly #askedAt = asyncScheduler.now();
  readonly #shared: SharedAnswer;
  readonly #playing: Subscription;
  readonly #onChange: () => void;
  readonly #paused$ = new BehaviorSubject(false);
  #received = NOTHING;
  #kept = false;
  #firstChunkMs: number | undefined;
  #phase: Phase = { status: 'open' };
  #isRead = true;
  #grace = new Subscription();
  #wasGivenUp = false;

  /** `onChange` is called when a snapshot is new. */
  constructor(id: string, asked: AnswerRequest, script: Script, onChange: () => void = () => {}) {
    this.id = id;
    this.#asked = asked;
    this.request = copyOf(asked);
    this.#onChange = onChange;
    this.#shared = new SharedAnswer(this.#snapshot(), this);
    this.#playing = from(script)
      .pipe(
        concatMap((step) => this.#unpaused(() => timer(this.#waitMs(step))).pipe(map(() => step))),
      )
      .subscribe((step) => this.#play(step));
    const { signal } = asked.options ?? {};
    signal?.addEventListener('abort', this.#onAbort);
    if (signal?.aborted) this.cancel();
  }

  get current(): ScriptedAnswer {
    return this;
  }

  get snapshot(): AnswerSnapshot {
    return this.#shared.current;
  }

  get wasGivenUp(): boolean {
    return this.#wasGivenUp;
  }

  lease(): Answer {
    return this.#shared.lease();
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
      return refuse('conflict', 'it has another answer, or has ended');
    if ('approved' in reply !== (call.awaits === 'approval'))
      return refuse('bad_request', 'it waits for something else');
    const { name } = call;
    if ('approved' in reply) {
      const { approved } = reply;
      this.#show(this.#hear({ type: 'tool_decision', callId, name, approved }));
      if (!approved) {
        const error = 'the user refused the call';
        this.#show(this.#hear({ type: 'tool_result', callId, name, error }));
      }
    } else this.#show(this.#hear({ type: 'tool_result', callId, name, ...reply }));
    this.#paused$.next(false);
    return Promise.resolve();
  }

  /** Gives `next` once no call waits. */
  #unpaused<T>(next: () => Observable<T>): Observable<T> {
    return this.#paused$.pipe(
      first((isPaused) => !isPaused),
      concatMap(next),
    );
  }

  onReleased(): void {
    this.#isRead = false;
    this.#grace = timer(DETACH_GRACE_MS).subscribe(() => {
      if (this.#phase.status === 'done' || this.#phase.status === 'failed') return;
      this.#wasGivenUp = true;
      this.#playing.unsubscribe();
      this.#phase = { status: 'cancelled', timing: this.#timing() };
    });
  }

  onLeased(): void {
    if (this.#isRead) return;
    this.#grace.unsubscribe();
    this.#isRead = true;
    this.#show(eventsOf(this.#snapshot()));
  }

  readonly #onAbort = (): void => this.cancel();

  /** A question that is refused as `rate_limited` waits, if it was asked to. */
  #waits(step: Step): step is Extract<Step, { type: 'error' }> & { retryAfterMs: number } {
    const { onRateLimit } = this.#asked.options ?? {};
    const isLimited = step.type === 'error' && step.code === 'rate_limited';
    return isLimited && onRateLimit === 'wait' && step.retryAfterMs !== undefined;
  }

  #waitMs(step: Step): number {
    const limitedMs =
      this.#phase.status === 'limited' ? this.#phase.retryAt - asyncScheduler.now() : 0;
    return Math.max(step.afterMs ?? 0, limitedMs);
  }

  #play(step: Step): void {
    if (this.#waits(step)) {
      this.#phase = { status: 'limited', retryAt: asyncScheduler.now() + step.retryAfterMs };
      this.#show([]);
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
      this.#show([]);
    } else {
      if (step.type === 'tool_call' && step.awaits !== undefined) this.#paused$.next(true);
      this.#show(this.#hear(step));
    }
  }

  #hear(step: EventStep): ResponseEvent[] {
    const needsStart = step.type !== 'start' && step.type !== 'queued' && step.type !== 'loading';
    const started =
      needsStart && this.#received.attempt === undefined ? this.#hear({ type: 'start' }) : [];
    const event = this.#eventOf(step);
    if (event.type === 'start') this.#kept = event.source === 'browser-cache';
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
    this.#playing.unsubscribe();
    this.#phase = final;
    this.#show([]);
  }

  #show(events: readonly ResponseEvent[]): void {
    if (!this.#isRead) return;
    this.#shared.next(this.#snapshot(), events);
    this.#onChange();
    if (!this.#shared.isFinal) return;
    this.#asked.options?.signal?.removeEventListener('abort', this.#onAbort);
  }

  #snapshot(): AnswerSnapshot {
    const asked = { id: this.id, query: this.#asked.query, kept: this.#kept };
    return snapshotOf(asked, this.#received, this.#phase);
  }

  #timing(): AnswerTiming {
    const firstChunkMs = this.#firstChunkMs;
    return { totalMs: this.#elapsedMs(), ...(firstChunkMs !== undefined && { firstChunkMs }) };
  }

  #elapsedMs(): number {
    return asyncScheduler.now() - this.#askedAt;
  }
}
