import {
  type ErrorCode,
  EVENT,
  type StreamAcceptedMessage,
  type StreamIncompleteMessage,
} from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { LogSlice } from '../deliver/log.js';
import type { Flushable } from '../deliver/flush-scheduler.js';
import type { ReaderSink } from '../deliver/reader.js';
import type { LeaveReason, Stream, Subscription } from '../deliver/stream.js';
import { type ErrorEntry, isTerminal, type NewsEntry } from '../entry.js';
import { encode, encodeNews, envelopeOf } from './encode.js';
import { Outbox } from './outbox.js';

/** The reader's first offset, its window (undefined for a plain reader), and its id. */
export interface SubscribeOptions {
  offset: number;
  window: number | undefined;
  readerId: string | undefined;
  /** Numbers the requests of all connections in the order in which they came. */
  arrival: number;
}

const DROPPED: ErrorEntry = {
  type: 'error',
  code: 'interrupted',
  message: 'unable to send the rest of the answer: the server had to drop it; ask again',
};

/** The subscriptions of one socket. A new subscription of a stream replaces the earlier one. */
export class Subscriptions {
  readonly outbox: Outbox;
  readonly #byStream = new Map<Stream, Subscription>();
  /**
   * Streams whose subscription on this socket ended because the same reader subscribed on another connection.
   */
  #takenOver: WeakSet<Stream> | undefined;
  #lastRef = 0;

  constructor(socket: Socket) {
    this.outbox = new Outbox(socket);
  }

  /** Sends the stream from `offset` on. @returns the `ref` of short chunks; undefined for a plain reader. */
  subscribe(stream: Stream, options: SubscribeOptions): number | undefined {
    const { offset, window, readerId, arrival } = options;
    const { log } = stream;
    const before = this.#byStream.get(stream);
    const ref = window === undefined ? undefined : ++this.#lastRef;
    // A request of a connection that is dead may wait longer than that of the connection after it.
    if (stream.isReadSince(arrival, readerId)) {
      (this.#takenOver ??= new WeakSet()).add(stream);
      return ref;
    }
    const isPlain = ref === undefined;
    // The StreamAcceptedMessage covers the log's first entry, or the `start` of the newest attempt.
    const isNew = isPlain && offset === 0;
    const firstOffset = isNew ? (log.start?.offset ?? 0) : isPlain && offset === 1 ? 0 : undefined;
    const from = Math.min(firstOffset ?? offset, log.head);
    const sink = isPlain
      ? new PlainSink(this, stream, firstOffset, isNew)
      : new WindowSink(this, stream, ref);
    this.#byStream.set(stream, stream.read({ offset: from, window, readerId, arrival }, sink));
    this.#takenOver?.delete(stream);
    if (before !== undefined) stream.leave(before, 'detached');
    // A reader that has all entries gets no terminal message, because that message would end its
    // subscription.
    if (log.done && from === log.head) {
      this.end(stream, 'detached');
      const last = log.read(log.head - 1, 1)?.entry;
      if (sink instanceof PlainSink && last?.type === 'error') {
        // Sent after the reply.
        process.nextTick(() => sink.sendIncomplete(last.code));
      }
    }
    return ref;
  }

  ack(stream: Stream, offset: number): void {
    this.#byStream.get(stream)?.reader.ack(offset);
  }

  /** Ends the subscription, or that of an earlier connection with the same `readerId`. */
  unsubscribe(stream: Stream, readerId: string | undefined): void {
    if (this.#byStream.has(stream)) this.end(stream, 'detached');
    else if (this.#takenOver?.delete(stream) !== true) stream.forgetLostReader(readerId);
  }

  /** The connection broke. Its readers may resume. */
  disconnect(): void {
    for (const stream of this.#byStream.keys()) this.end(stream, 'lost');
    this.outbox.close();
  }

  /** Ends the subscription of a stream. */
  end(stream: Stream, how: LeaveReason): void {
    const subscription = this.#byStream.get(stream);
    this.#byStream.delete(stream);
    if (subscription !== undefined) stream.leave(subscription, how);
  }

  /**
   * Removes the subscription of a closed reader, which would keep its stream in memory until the connection
   * closes.
   */
  forget(stream: Stream, reader: Flushable): void {
    this.outbox.forget(reader);
    if (this.#byStream.get(stream)?.reader !== reader) return;
    this.#byStream.delete(stream);
    (this.#takenOver ??= new WeakSet()).add(stream);
  }
}

/** Sends one stream to a socket. */
abstract class SocketSink implements ReaderSink {
  protected readonly subscriptions: Subscriptions;
  protected readonly stream: Stream;

  constructor(subscriptions: Subscriptions, stream: Stream) {
    this.subscriptions = subscriptions;
    this.stream = stream;
  }

  abstract send(slice: LogSlice): void;

  writable(reader: Flushable): boolean {
    return this.subscriptions.outbox.writable(reader);
  }

  sendNews(news: NewsEntry): void {
    const message = encodeNews(news, envelopeOf(this.stream));
    this.subscriptions.outbox.emit(message.type, message);
  }

  drop(offset: number, reason: ErrorEntry = DROPPED): void {
    this.send({ offset, size: 1, entry: reason });
  }

  forget(reader: Flushable): void {
    this.subscriptions.forget(this.stream, reader);
  }

  protected sendNamed(slice: LogSlice): void {
    const { stream } = this;
    const encoded = encode(slice, envelopeOf(stream), stream.omittedMessages);
    this.subscriptions.outbox.emit(...encoded);
    if (isTerminal(slice.entry)) this.subscriptions.end(this.stream, 'detached');
  }
}

/** Sends a stream to a reader with a window. Text is sent as short chunks. */
class WindowSink extends SocketSink {
  readonly #ref: number;

  constructor(subscriptions: Subscriptions, stream: Stream, ref: number) {
    super(subscriptions, stream);
    this.#ref = ref;
  }

  send(slice: LogSlice): void {
    if (slice.entry.type === 'text') this.subscriptions.outbox.emitShort(this.#ref, slice);
    else this.sendNamed(slice);
  }
}

/** Sends a stream to a plain reader; see PROTOCOL.md, "Plain readers". */
class PlainSink extends SocketSink {
  /** Present if the reader receives a StreamAcceptedMessage. */
  readonly begin?: () => void;
  /**
   * The offset of the log entry that StreamAcceptedMessage covers; undefined if the reader resumes after it.
   */
  readonly #firstOffset: number | undefined;
  /** The length of the text that the reader has concatenated, in UTF-16 units; undefined if it resumes. */
  #units: number | undefined;

  constructor(
    subscriptions: Subscriptions,
    stream: Stream,
    firstOffset: number | undefined,
    isNew: boolean,
  ) {
    super(subscriptions, stream);
    this.#firstOffset = firstOffset;
    this.#units = firstOffset === undefined ? undefined : 0;
    // Read now, because the log may start another attempt before the connection takes the message.
    const { offset, attempt } = stream.log.start ?? { offset: 0, attempt: 1 };
    if (isNew) this.begin = () => this.#sendAccepted(offset, attempt);
  }

  send(slice: LogSlice): void {
    const { offset, size, entry } = slice;
    const isFirst = offset === this.#firstOffset;
    if (entry.type === 'start' && this.#units !== undefined && this.#units > 0) {
      // The failure of an attempt ends the stream of a plain reader, so this reader subscribed after the
      // failure, or another process has begun an attempt that replaces the text.
      const { reason: message = 'unable to finish the answer', reasonCode } = entry;
      const code = reasonCode ?? 'provider_unavailable';
      this.sendNamed({ offset, size, entry: { type: 'error', code, message } });
      return this.sendIncomplete(code, this.#units);
    }
    if (entry.type === 'start' && isFirst) return;
    if (entry.type === 'text' && this.#units !== undefined) this.#units += size;
    const isMoved = isFirst && entry.type === 'error';
    this.sendNamed(isMoved ? { ...slice, offset: offset + 1 } : slice);
    if (entry.type === 'error') this.sendIncomplete(entry.code, this.#units);
  }

  sendIncomplete(code: ErrorCode, units: number = this.stream.log.textLength): void {
    const message: StreamIncompleteMessage = {
      type: EVENT.end,
      complete: false,
      total_length: units,
      ...envelopeOf(this.stream),
      code,
    };
    this.subscriptions.outbox.emit(EVENT.end, message);
  }

  #sendAccepted(offset: number, attempt: number): void {
    const message: StreamAcceptedMessage = {
      type: EVENT.start,
      ...envelopeOf(this.stream),
      offset,
      attempt,
    };
    this.subscriptions.outbox.emit(EVENT.start, message);
  }
}
