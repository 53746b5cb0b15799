import {
  type ErrorReply,
  EVENT,
  StreamError,
  type StreamOpenReply,
  type StreamStartRequest,
  type WireError,
} from '@rivulet/protocol';
import { ReplaySubject } from 'rxjs';
import { createAnswer } from './answer.js';
import type { KeptAnswer } from './cache/response-cache.js';
import type { Connection } from './connection.js';
import { sha256 } from './digest.js';
import type { Link, OpenRequest } from './link.js';
import { randomId } from './random-id.js';
import {
  type Frame,
  knownError,
  NOTHING,
  receive,
  receiveAhead,
  type Received,
} from './receive.js';
import { refusal, type StartRequest, startRequest, WINDOW_UNITS } from './request.js';
import { isFinal, isSame, type Phase, snapshotOf } from './snapshot.js';
import type { Answer, AnswerSnapshot, AnswerTiming, Ask, CacheMode } from './types.js';

type Failure = Omit<WireError, 'retryable'> & { retryable?: boolean };

/** Complete answers by what was asked. Neither throws. */
export interface AnswerStore {
  get(request: StreamStartRequest): Promise<KeptAnswer | undefined>;
  /** `askedAt` is by `performance.now()`: what was asked before a `clear` is not kept after it. */
  put(request: StreamStartRequest, answer: KeptAnswer, askedAt: number): Promise<void>;
}

/** One response: the cursor that this page has on a stream, and the answer that comes of it. */
export class LiveResponse implements Link {
  readonly id: string;
  readonly answer: Answer;
  readonly #connection: Connection;
  readonly #store: AnswerStore;
  readonly #request: StartRequest;
  readonly #cacheMode: CacheMode;
  // Not a BehaviorSubject, which gives nothing to who comes after the end.
  readonly #state$ = new ReplaySubject<AnswerSnapshot>(1);
  #current: AnswerSnapshot;
  readonly #askedAt = performance.now();
  #received: Received = NOTHING;
  #kept = false;
  #acknowledged = 0;
  #firstChunkMs: number | undefined;
  /** The start was sent, so that the server may know the stream; or it said that it does. */
  #known: 'no' | 'maybe' | 'yes' = 'no';
  #awaitingReply = false;
  #rebuilt = false;
  #wanted = true;
  #lookedUp = false;
  #wasAway = false;
  /** It ended at the server while nobody here read it. */
  #endedWhileAway = false;
  #leave = (): void => {};
  #forgetSignal = (): void => {};

  constructor(id: string, ask: Ask, connection: Connection, store: AnswerStore) {
    this.id = id;
    this.#connection = connection;
    this.#store = store;
    this.#request = startRequest(id, randomId(), ask);
    this.#cacheMode = ask.options?.cache ?? 'default';
    this.#current = this.#snapshot({ status: 'open' });
    this.#state$.next(this.#current);
    const getSnapshot = (): AnswerSnapshot => this.#current;
    this.answer = createAnswer(this.#state$.asObservable(), getSnapshot, {
      cancel: () => this.#cancel(),
      detach: () => this.detach(),
      attach: () => this.resume(),
    });
    this.#followSignal(ask.options?.signal);
    void this.#begin();
  }

  /** Stops reading; the server ends the stream soon unless another reads it. */
  detach(): void {
    if (this.#ended || !this.#wanted) return;
    this.#wanted = false;
    this.#leave();
    this.#endAtServer(EVENT.detach);
  }

  /** Reads on after `detach`. */
  resume(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#wasAway = true;
    if (this.#lookedUp && !this.#ended) this.#leave = this.#connection.join(this);
  }

  /**
   * Whether it is over because all here had left it for longer than the server waits, and not because
   * someone ended it.
   */
  get wasGivenUp(): boolean {
    return this.#endedWhileAway && this.answer.getSnapshot().status !== 'done';
  }

  /** Asks, or reads on from what is here. Asking twice under one id is asking once. */
  request(): OpenRequest {
    this.#awaitingReply = true;
    const { offset } = this.#received;
    this.#acknowledged = offset;
    if (this.#known === 'yes') {
      const { stream_id, reader_id } = this.#request;
      return { type: EVENT.attach, stream_id, reader_id, offset, window: WINDOW_UNITS };
    }
    this.#known = 'maybe';
    return this.#request;
  }

  refused(error: WireError): void {
    this.#fail(error);
  }

  disconnected(): void {
    this.#awaitingReply = false;
    // The queue moves on meanwhile; the server says the place again.
    this.#received = receiveAhead(this.#received, 0);
    this.#show({ status: 'reconnecting' });
  }

  closed(): void {
    this.#fail({ code: 'cancelled', message: 'unable to go on: the client was closed' });
  }

  receive(frame: Frame): void {
    const next = receive(this.#received, frame);
    if (next === 'gap') {
      // What was on its way before the new reader began is no second gap.
      if (!this.#awaitingReply) this.#reopen();
      return;
    }
    if (next === this.#received || this.#ended) return;
    this.#received = next;
    if (next.text !== '') this.#firstChunkMs ??= this.#elapsedMs();
    if (next.terminal?.type === 'error') this.#fail(next.terminal.error);
    else if (next.terminal?.type === 'end') void this.#verify(next.terminal);
    else this.#show({ status: 'open' });
    this.#acknowledge();
  }

  queued(ahead: number): void {
    if (this.#ended) return;
    this.#received = receiveAhead(this.#received, ahead);
    this.#show({ status: 'open' });
  }

  async #begin(): Promise<void> {
    const refused = refusal(this.#request);
    if (refused !== undefined) return this.#fail(refused);
    const readsCache = this.#cacheMode === 'default' || this.#cacheMode === 'only-if-cached';
    const kept = readsCache ? await this.#store.get(this.#request) : undefined;
    this.#lookedUp = true;
    if (this.#ended) return;
    if (kept !== undefined) return this.#showKept(kept);
    if (this.#cacheMode === 'only-if-cached') {
      return this.#fail({
        code: 'not_found',
        message: 'unable to answer: this browser has kept no answer to it',
      });
    }
    if (this.#wanted) this.#leave = this.#connection.join(this);
  }

  replied(reply: StreamOpenReply | ErrorReply): void {
    this.#awaitingReply = false;
    if (this.#ended) return;
    this.#endedWhileAway = this.#wasAway && (!reply.ok || reply.status === 'ended');
    this.#wasAway = false;
    if (reply.ok) {
      this.#known = 'yes';
      return this.#show({ status: 'open' });
    }
    const { code, retry_after_ms: retryAfterMs } = reply.error;
    // It still runs; only reading on was too much for now.
    if (this.#known === 'yes' && retryAfterMs !== undefined) {
      this.#show({ status: 'reconnecting' });
      return void setTimeout(() => this.#reopen(), retryAfterMs);
    }
    if (this.#known !== 'yes' || code !== 'not_found') return this.#fail(knownError(reply.error));
    // The server that knew this stream is gone. Where none of it was seen it is simply asked again.
    this.#known = 'no';
    if (this.#received.offset === 0) return this.#reopen();
    this.#fail({
      code: 'producer_lost',
      message: 'unable to finish the answer: the server that was generating it is gone; ask again',
    });
  }

  #acknowledge(): void {
    const { offset } = this.#received;
    if (offset - this.#acknowledged < WINDOW_UNITS / 4) return;
    this.#acknowledged = offset;
    this.#connection.acknowledge(this.id, offset);
  }

  /** The text is what the server sent, or it is read again from the start, once. */
  async #verify({ totalLength, digest }: { totalLength: number; digest: string }): Promise<void> {
    const { text } = this.#received;
    const whole = text.length === totalLength && ((await sha256(text)) ?? digest) === digest;
    if (this.#ended) return;
    if (whole) return this.#finish();
    if (this.#rebuilt) {
      return this.#fail({
        code: 'internal',
        message: 'unable to finish the answer: its text did not arrive as it was sent; ask again',
      });
    }
    this.#rebuilt = true;
    this.#received = NOTHING;
    this.#reopen();
  }

  #finish(): void {
    const { attempt, terminal, text, tools } = this.#received;
    if (attempt === undefined || terminal?.type !== 'end') return;
    const server = this.#kept ? {} : { server: terminal.timing };
    this.#show({ status: 'done', timing: { ...this.#timing(), ...server } });
    const { finishReason, usage } = terminal;
    const keeps = this.#cacheMode === 'default' || this.#cacheMode === 'reload';
    if (this.#kept || !keeps || finishReason !== 'stop' || text === '') return;
    // What a tool found may be another thing tomorrow, and what it did was done for this request.
    if (tools.length > 0) return;
    const { provider, model } = attempt;
    const answer = { text, provider, model, finishReason, usage, createdAt: Date.now() };
    void this.#store.put(this.#request, answer, this.#askedAt);
  }

  #showKept({ text, provider, model, finishReason, usage }: KeptAnswer): void {
    this.#kept = true;
    this.#firstChunkMs = this.#elapsedMs();
    this.#received = {
      ...NOTHING,
      text,
      attempt: { attempt: 1, source: 'cache', provider, model, reason: undefined },
      ahead: 0,
      terminal: {
        type: 'end',
        finishReason,
        totalLength: text.length,
        digest: '',
        usage,
        timing: { total_ms: 0 },
      },
    };
    this.#finish();
  }

  #cancel(): void {
    if (this.#ended) return;
    this.#endAtServer(EVENT.cancel);
    this.#show({ status: 'cancelled', timing: this.#timing() });
  }

  #endAtServer(event: typeof EVENT.cancel | typeof EVENT.detach): void {
    if (this.#known === 'no') return;
    const { stream_id, reader_id } = this.#request;
    this.#connection.tell(event, event === EVENT.detach ? { stream_id, reader_id } : { stream_id });
  }

  #reopen(): void {
    if (this.#wanted && !this.#ended) this.#connection.reopen(this);
  }

  #fail({ code, message, retryable, retry_after_ms: retryAfterMs }: Failure): void {
    const timing = this.#timing();
    if (code === 'cancelled') return this.#show({ status: 'cancelled', timing });
    const partialText = this.#received.text;
    const error = new StreamError(code, message, {
      retryAfterMs,
      partialText,
      ...(retryable !== undefined && { retryable }),
    });
    this.#show({ status: 'failed', timing, error });
  }

  #show(phase: Phase): void {
    if (this.#ended) return;
    const next = this.#snapshot(phase);
    if (isSame(next, this.#current)) return;
    this.#current = next;
    this.#state$.next(next);
    if (!this.#ended) return;
    this.#leave();
    this.#forgetSignal();
    this.#state$.complete();
  }

  #snapshot(phase: Phase): AnswerSnapshot {
    const asked = { id: this.id, query: this.#request.query, kept: this.#kept };
    return snapshotOf(asked, this.#received, phase);
  }

  #followSignal(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const cancel = (): void => this.#cancel();
    signal.addEventListener('abort', cancel);
    this.#forgetSignal = () => signal.removeEventListener('abort', cancel);
    if (signal.aborted) cancel();
  }

  get #ended(): boolean {
    return isFinal(this.#current);
  }

  #timing(): AnswerTiming {
    const firstChunkMs = this.#firstChunkMs;
    return { totalMs: this.#elapsedMs(), ...(firstChunkMs !== undefined && { firstChunkMs }) };
  }

  #elapsedMs(): number {
    return Math.round(performance.now() - this.#askedAt);
  }
}
