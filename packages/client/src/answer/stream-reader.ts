import { type ErrorReply, EVENT, type StreamReply, type WireError } from '@rivulet/protocol';
import type { Connection, StreamHandler, OpenRequest } from '../connection/connection.js';
import { CLIENT_CLOSED, type Failure, CORRUPTED, INTERRUPTED } from './failure.js';
import {
  acceptReply,
  detach,
  finish,
  finishRestore,
  INITIAL,
  interrupt,
  type ReaderState,
  resume,
} from './reader-state.js';
import { type End, type LogSegment, toKnownError } from '../connection/log-segment.js';
import {
  isIntact,
  NOTHING_RECEIVED,
  receive,
  receiveQueued,
  receiveLoading,
  type ReceivedAnswer,
} from './receive.js';
import type { LoadingModel, ResponseEvent } from '../types.js';
import { type StartRequest, WINDOW_UNITS } from './request.js';

/**
 * The state of a stream that is not final: `open` while there is a connection, `reconnecting` while there is none,
 * `limited` while the rate limit forbids the question, until `retryAt` (milliseconds since 1970).
 */
export type StreamPhase =
  | { status: 'open' | 'reconnecting' }
  | { status: 'limited'; retryAt: number };

/** A stream reader calls its listener after each log segment and at the end. */
export interface StreamListener {
  /** `events` are those of the newest log segment; none if only the phase has changed. */
  onUpdate(phase: StreamPhase, events?: readonly ResponseEvent[]): void;
  /** The whole text was received and verified. */
  onComplete(end: End): void;
  onError(failure: Failure): void;
}

export interface StreamReaderOptions {
  /** True if the server may not have the stream yet, so that the reader has to start it. */
  isNew: boolean;
  /** True if the reader repeats a question that was refused as `rate_limited`, once the limit allows it. */
  waitsOnRateLimit: boolean;
}

const OPEN: StreamPhase = { status: 'open' };

/** Reads one stream: starts or resumes it, and resumes it from the received offset after a lost connection. */
export class StreamReader implements StreamHandler {
  readonly id: string;
  readonly #connection: Connection;
  #request: StartRequest;
  readonly #listener: StreamListener;
  #waitsOnRateLimit: boolean;
  /** True if `#request` is the whole question: this reader started the stream, or the journal has the request. */
  #knowsRequest: boolean;
  #received: ReceivedAnswer = NOTHING_RECEIVED;
  #acknowledged = 0;
  #state: ReaderState = INITIAL;
  /** `sent` until the server has replied to the start. */
  #acceptance: 'unsent' | 'sent' | 'accepted';
  #wasReread = false;
  /** The id of the log that `#received` comes from. */
  #epoch: string | undefined;
  #requestId: string | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #removeHandler = (): void => {};

  constructor(
    connection: Connection,
    request: StartRequest,
    listener: StreamListener,
    { isNew, waitsOnRateLimit }: StreamReaderOptions,
  ) {
    this.id = request.stream_id;
    this.#connection = connection;
    this.#request = request;
    this.#listener = listener;
    this.#waitsOnRateLimit = waitsOnRateLimit;
    this.#knowsRequest = isNew;
    this.#acceptance = isNew ? 'unsent' : 'accepted';
  }

  get received(): ReceivedAnswer {
    return this.#received;
  }

  /** The id of the request in the logs of the server. */
  get requestId(): string | undefined {
    return this.#requestId;
  }

  /** True if the stream had ended when the reader resumed it after `detach()`. */
  get hadEnded(): boolean {
    return 'hadEnded' in this.#state && this.#state.hadEnded;
  }

  /** The id of the log that `received` comes from; undefined until the server has sent it. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** True until the server has accepted the question. */
  get isUnaccepted(): boolean {
    return this.#acceptance !== 'accepted';
  }

  /**
   * Continues a stream from the journal: its request, and the part of the log `epoch` that was received. With
   * `isNew` the reader starts the stream, since the page that wrote the journal got no reply.
   */
  restore(
    request: StartRequest,
    received: ReceivedAnswer,
    epoch: string | undefined,
    { isNew, waitsOnRateLimit }: StreamReaderOptions,
  ): void {
    this.#knowsRequest = true;
    this.#request = request;
    this.#received = received;
    this.#epoch = epoch;
    // The earlier page may have sent the question and closed before the reply.
    this.#acceptance = isNew ? 'sent' : 'accepted';
    this.#waitsOnRateLimit = waitsOnRateLimit;
  }

  /** Opens the stream, unless `detach()` was called in the meantime. @returns true if it does. */
  begin(): boolean {
    return this.#enter(finishRestore(this.#state));
  }

  /** Stops reading. The server ends the stream soon if it has no other reader. @returns true if it was reading. */
  detach(): boolean {
    const state = detach(this.#state);
    if (state === this.#state) return false;
    this.#state = state;
    clearTimeout(this.#retryTimer);
    this.#removeHandler();
    this.#notifyServer(EVENT.detach);
    return true;
  }

  /** Resumes reading after `detach()`. @returns true if it was detached. */
  resume(): boolean {
    return this.#enter(resume(this.#state));
  }

  /** Ends the stream for all its readers. */
  cancel(): void {
    this.stop();
    this.#notifyServer(EVENT.cancel);
  }

  /** Stops reading without a message to the server. */
  stop(): void {
    this.#state = finish(this.#state);
    clearTimeout(this.#retryTimer);
    this.#removeHandler();
  }

  /** @returns a start, or a resume from the received offset. A start that the server has already has no effect. */
  request(): OpenRequest {
    clearTimeout(this.#retryTimer);
    this.#state = interrupt(this.#state);
    // The position in the queue may be outdated.
    this.#received = receiveQueued(this.#received, 0);
    const { offset } = this.#received;
    this.#acknowledged = offset;
    if (this.#acceptance === 'accepted') {
      const { stream_id, reader_id } = this.#request;
      return {
        type: EVENT.resume,
        stream_id,
        reader_id,
        offset,
        ...(this.#epoch !== undefined && { epoch: this.#epoch }),
        ...(this.#received.attempt && { attempt: this.#received.attempt.attempt }),
        window: WINDOW_UNITS,
      };
    }
    this.#acceptance = 'sent';
    return this.#request;
  }

  onRefused(error: WireError): void {
    this.#listener.onError(error);
  }

  onDisconnect(): void {
    this.#state = interrupt(this.#state);
    // The queue moves on meanwhile; the server sends the position again.
    this.#received = receiveQueued(this.#received, 0);
    this.#listener.onUpdate({ status: 'reconnecting' });
  }

  onClosed(): void {
    this.#listener.onError(CLIENT_CLOSED);
  }

  onSegment(segment: LogSegment): void {
    const result = receive(this.#received, segment);
    if (result === 'gap') {
      // Segments that were sent before the stream was reopened do not count as another gap.
      if (this.#state.status === 'reading') this.#reopen();
      return;
    }
    if (result === undefined || this.#isEnded) return;
    this.#received = result.received;
    const { terminal } = result.received;
    if (terminal === undefined) this.#listener.onUpdate(OPEN, result.events);
    else if (terminal.type === 'error') this.#listener.onError(terminal.error);
    else void this.#verify(terminal);
    this.#acknowledge();
  }

  onReply(reply: StreamReply | ErrorReply): void {
    if (this.#isEnded) return;
    if (!reply.ok && this.#retriesLater(reply.error)) return;
    this.#state = acceptReply(this.#state, !reply.ok || reply.status === 'ended');
    if (reply.ok) {
      this.#acceptance = 'accepted';
      this.#epoch = reply.epoch;
      this.#requestId = reply.request_id;
      if (reply.reset === true) {
        this.#received = NOTHING_RECEIVED;
        this.#acknowledged = 0;
      }
      return this.#listener.onUpdate(OPEN);
    }
    if (this.#acceptance !== 'accepted' || reply.error.code !== 'not_found') {
      return this.#listener.onError(toKnownError(reply.error));
    }
    // The server that had this stream is gone. If no text was received, the question is sent again.
    if (this.#knowsRequest && this.#received.offset === 0) {
      this.#acceptance = 'unsent';
      return this.#reopen();
    }
    this.#listener.onError(this.#knowsRequest ? INTERRUPTED : reply.error);
  }

  /** @returns true if the reader sends its request again after the delay that the server asked for. */
  #retriesLater({ code, retry_after_ms: afterMs }: WireError): boolean {
    if (afterMs === undefined) return false;
    // The stream is running; only the resume exceeded the limit.
    if (this.#acceptance === 'accepted') this.#listener.onUpdate({ status: 'reconnecting' });
    else if (code !== 'rate_limited' || !this.#waitsOnRateLimit) return false;
    else this.#listener.onUpdate({ status: 'limited', retryAt: Date.now() + afterMs });
    this.#retryTimer = setTimeout(() => this.#reopen(), afterMs);
    return true;
  }

  onQueued(ahead: number): void {
    if (this.#isEnded) return;
    this.#received = receiveQueued(this.#received, ahead);
    this.#listener.onUpdate(OPEN);
  }

  onLoading(model: LoadingModel): void {
    if (this.#isEnded) return;
    this.#received = receiveLoading(this.#received, model);
    this.#listener.onUpdate(OPEN);
  }

  #enter(state: ReaderState): boolean {
    const opens = state !== this.#state && state.status === 'opening';
    this.#state = state;
    if (opens) this.#removeHandler = this.#connection.addHandler(this);
    return opens;
  }

  #acknowledge(): void {
    const { offset } = this.#received;
    // The offset goes back where a newer attempt begins before the text that was acknowledged.
    if (Math.abs(offset - this.#acknowledged) < WINDOW_UNITS / 4) return;
    this.#acknowledged = offset;
    this.#connection.acknowledge(this.id, offset);
  }

  /** Completes if the text is what the server sent. Otherwise reads the stream again from the start, once. */
  async #verify(end: End): Promise<void> {
    const intact = await isIntact(this.#received.text, end);
    if (this.#isEnded) return;
    if (intact) return this.#listener.onComplete(end);
    if (this.#wasReread) return this.#listener.onError(CORRUPTED);
    this.#wasReread = true;
    this.#received = NOTHING_RECEIVED;
    this.#reopen();
  }

  #notifyServer(event: typeof EVENT.cancel | typeof EVENT.detach): void {
    if (this.#acceptance === 'unsent') return;
    const { stream_id, reader_id } = this.#request;
    this.#connection.sendReliably(
      event,
      event === EVENT.detach ? { stream_id, reader_id } : { stream_id },
    );
  }

  #reopen(): void {
    const { status } = this.#state;
    if (status === 'opening' || status === 'reading') this.#connection.reopen(this);
  }

  get #isEnded(): boolean {
    return this.#state.status === 'ended';
  }
}
