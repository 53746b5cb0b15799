import { type ErrorReply, EVENT, type StreamReply, type WireError } from '@rivulet/protocol';
import type { Connection, Link, OpenRequest } from '../connection/link.js';
import { CLIENT_CLOSED, type Failure, GARBLED, INTERRUPTED } from './failure.js';
import {
  cameBack,
  ended,
  interrupted,
  left,
  lookedUp,
  LOOKING,
  type Reader,
  replied,
} from './reader.js';
import { type End, type Frame, knownError } from '../connection/frame.js';
import {
  isWhole,
  NOTHING,
  receive,
  receiveAhead,
  receiveLoading,
  type Received,
} from './receive.js';
import type { LoadingModel, ResponseEvent } from '../types.js';
import { type StartRequest, WINDOW_UNITS } from './request.js';

/** There is more, or a connection again, or none; or the question may not be asked before `retryAt`. */
export type Moved = { status: 'open' | 'reconnecting' } | { status: 'limited'; retryAt: number };

/** A stream reader calls its listener after each frame and at the end. */
export interface StreamListener {
  /** `events` are what the newest frame added; none if only the phase is new. */
  moved(phase: Moved, events?: readonly ResponseEvent[]): void;
  /** All of it is here, as it was sent. */
  finished(end: End): void;
  failed(failure: Failure): void;
}

export interface StreamReaderOptions {
  /** False for a stream that is under way. */
  asks: boolean;
  /** Whether a question that is refused as `rate_limited` is asked again when it may be. */
  waitsWhenLimited: boolean;
}

const OPEN: Moved = { status: 'open' };
/** This page's place on a stream: it asks, reads, and after a cut reads on from there. */
export class StreamReader implements Link {
  readonly id: string;
  readonly #connection: Connection;
  #request: StartRequest;
  readonly #listener: StreamListener;
  #waitsWhenLimited: boolean;
  /** True if the question was asked by this reader, or by a page before this one. */
  #knowsRequest: boolean;
  #received: Received = NOTHING;
  #acknowledged = 0;
  #reader: Reader = LOOKING;
  /** Whether the server knows the stream: it does not, it was told, or it said that it does. */
  #server: 'unaware' | 'told' | 'aware';
  #rebuilt = false;
  /** Of the log that `#received` is from. */
  #epoch: string | undefined;
  #requestId: string | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #leave = (): void => {};

  constructor(
    connection: Connection,
    request: StartRequest,
    listener: StreamListener,
    { asks, waitsWhenLimited }: StreamReaderOptions,
  ) {
    this.id = request.stream_id;
    this.#connection = connection;
    this.#request = request;
    this.#listener = listener;
    this.#waitsWhenLimited = waitsWhenLimited;
    this.#knowsRequest = asks;
    this.#server = asks ? 'unaware' : 'aware';
  }

  get received(): Received {
    return this.#received;
  }

  /** As the server named the stream in its log. */
  get requestId(): string | undefined {
    return this.#requestId;
  }

  get isNew(): boolean {
    return this.#server !== 'aware';
  }

  /** Whether the stream had ended when this page came back to it. */
  get hadEnded(): boolean {
    return 'hadEnded' in this.#reader && this.#reader.hadEnded;
  }

  /** The id of the log that `received` is from, where it is known. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** True until the server has accepted the question. */
  get isAsking(): boolean {
    return this.#server !== 'aware';
  }

  /**
   * Takes over from a page before this one: what it had asked, and had received of the log `epoch`. It asks
   * if that page did not get so far.
   */
  goOnFrom(
    request: StartRequest,
    received: Received,
    epoch: string | undefined,
    { asks, waitsWhenLimited }: StreamReaderOptions,
  ): void {
    this.#knowsRequest = true;
    this.#request = request;
    this.#received = received;
    this.#epoch = epoch;
    // The page before this one may have asked and gone before the reply.
    this.#server = asks ? 'told' : 'aware';
    this.#waitsWhenLimited = waitsWhenLimited;
  }

  /** Reads, unless it has left meanwhile. Whether it does. */
  begin(): boolean {
    return this.#go(lookedUp(this.#reader));
  }

  /** Stops reading; the server ends the stream soon unless another reads it. Whether it was there. */
  detach(): boolean {
    const reader = left(this.#reader);
    if (reader === this.#reader) return false;
    this.#reader = reader;
    clearTimeout(this.#retry);
    this.#leave();
    this.#endAtServer(EVENT.detach);
    return true;
  }

  /** Reads on after `detach`. Whether it does. */
  comeBack(): boolean {
    return this.#go(cameBack(this.#reader));
  }

  /** Ends the stream for all its readers. */
  cancel(): void {
    this.stop();
    this.#endAtServer(EVENT.cancel);
  }

  /** There is nothing more to read. */
  stop(): void {
    this.#reader = ended(this.#reader);
    clearTimeout(this.#retry);
    this.#leave();
  }

  /** Asks, or reads on from what is here. Asking twice under one id is asking once. */
  request(): OpenRequest {
    clearTimeout(this.#retry);
    this.#reader = interrupted(this.#reader);
    // A wait that is over is not told again.
    this.#received = receiveAhead(this.#received, 0);
    const { offset } = this.#received;
    this.#acknowledged = offset;
    if (this.#server === 'aware') {
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
    this.#server = 'told';
    return this.#request;
  }

  refused(error: WireError): void {
    this.#listener.failed(error);
  }

  disconnected(): void {
    this.#reader = interrupted(this.#reader);
    // The queue moves on meanwhile; the server says the place again.
    this.#received = receiveAhead(this.#received, 0);
    this.#listener.moved({ status: 'reconnecting' });
  }

  closed(): void {
    this.#listener.failed(CLIENT_CLOSED);
  }

  receive(frame: Frame): void {
    const step = receive(this.#received, frame);
    if (step === 'gap') {
      // What was on its way before the new reader began is no second gap.
      if (this.#reader.status === 'reading') this.#reopen();
      return;
    }
    if (step === undefined || this.#isOver) return;
    this.#received = step.received;
    const { terminal } = step.received;
    if (terminal === undefined) this.#listener.moved(OPEN, step.events);
    else if (terminal.type === 'error') this.#listener.failed(terminal.error);
    else void this.#verify(terminal);
    this.#acknowledge();
  }

  replied(reply: StreamReply | ErrorReply): void {
    if (this.#isOver) return;
    if (!reply.ok && this.#waits(reply.error)) return;
    this.#reader = replied(this.#reader, !reply.ok || reply.status === 'ended');
    if (reply.ok) {
      this.#server = 'aware';
      this.#epoch = reply.epoch;
      this.#requestId = reply.request_id;
      if (reply.reset === true) {
        this.#received = NOTHING;
        this.#acknowledged = 0;
      }
      return this.#listener.moved(OPEN);
    }
    if (this.#server !== 'aware' || reply.error.code !== 'not_found') {
      return this.#listener.failed(knownError(reply.error));
    }
    // The server that knew this stream is gone. Where none of it was seen it is simply asked again.
    if (this.#knowsRequest && this.#received.offset === 0) {
      this.#server = 'unaware';
      return this.#reopen();
    }
    this.#listener.failed(this.#knowsRequest ? INTERRUPTED : reply.error);
  }

  /** Whether it asks again when the server said that it may. */
  #waits({ code, retry_after_ms: afterMs }: WireError): boolean {
    if (afterMs === undefined) return false;
    // It still runs; only reading on was too much for now.
    if (this.#server === 'aware') this.#listener.moved({ status: 'reconnecting' });
    else if (code !== 'rate_limited' || !this.#waitsWhenLimited) return false;
    else this.#listener.moved({ status: 'limited', retryAt: Date.now() + afterMs });
    this.#retry = setTimeout(() => this.#reopen(), afterMs);
    return true;
  }

  queued(ahead: number): void {
    if (this.#isOver) return;
    this.#received = receiveAhead(this.#received, ahead);
    this.#listener.moved(OPEN);
  }

  loading(model: LoadingModel): void {
    if (this.#isOver) return;
    this.#received = receiveLoading(this.#received, model);
    this.#listener.moved(OPEN);
  }

  #go(reader: Reader): boolean {
    const goes = reader !== this.#reader && reader.status === 'opening';
    this.#reader = reader;
    if (goes) this.#leave = this.#connection.join(this);
    return goes;
  }

  #acknowledge(): void {
    const { offset } = this.#received;
    if (offset - this.#acknowledged < WINDOW_UNITS / 4) return;
    this.#acknowledged = offset;
    this.#connection.acknowledge(this.id, offset);
  }

  /** The text is what the server sent, or it is read again from the start, once. */
  async #verify(end: End): Promise<void> {
    const whole = await isWhole(this.#received.text, end);
    if (this.#isOver) return;
    if (whole) return this.#listener.finished(end);
    if (this.#rebuilt) return this.#listener.failed(GARBLED);
    this.#rebuilt = true;
    this.#received = NOTHING;
    this.#reopen();
  }

  #endAtServer(event: typeof EVENT.cancel | typeof EVENT.detach): void {
    if (this.#server === 'unaware') return;
    const { stream_id, reader_id } = this.#request;
    this.#connection.tell(event, event === EVENT.detach ? { stream_id, reader_id } : { stream_id });
  }

  #reopen(): void {
    const { status } = this.#reader;
    if (status === 'opening' || status === 'reading') this.#connection.reopen(this);
  }

  get #isOver(): boolean {
    return this.#reader.status === 'over';
  }
}
