import {
  type ErrorCode,
  EVENT,
  type StreamAcceptedMessage,
  type StreamIncompleteMessage,
} from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { Frame } from '../deliver/log.js';
import type { Flushable } from '../deliver/pace.js';
import type { Leaving, Seat, Stream } from '../deliver/stream.js';
import { type ErrorEntry, isTerminal } from '../entry.js';
import { createBackpressure } from './backpressure.js';
import { encode, encodeAhead, encodeShort, envelopeOf } from './encode.js';

/** Where a reader begins, its window (undefined for a plain reader), and its own name. */
export interface SubscribeOptions {
  offset: number;
  window: number | undefined;
  readerId: string | undefined;
}

/** The streams that one socket reads. A stream has at most one subscription here; the newest counts. */
export interface Subscriptions {
  /** Sends the stream from `offset` on. @returns the `ref` of short chunks; undefined for a plain reader. */
  subscribe(stream: Stream, options: SubscribeOptions): number | undefined;
  ack(stream: Stream, offset: number): void;
  /** Ends the subscription, or that of an earlier connection with the same `readerId`. */
  unsubscribe(stream: Stream, readerId: string | undefined): void;
  /** The connection broke; its readers may resume. */
  disconnect(): void;
}

const DROPPED: ErrorEntry = {
  type: 'error',
  code: 'interrupted',
  message: 'unable to send the rest of the answer: the server had to drop it; ask again',
};

export function createSubscriptions(socket: Socket): Subscriptions {
  const backpressure = createBackpressure(socket);
  const subscriptions = new Map<Stream, Seat>();
  /** Streams whose subscription here ended because the same reader subscribed on another connection. */
  const takenOver = new WeakSet<Stream>();
  let lastRef = 0;

  function sendNamed(stream: Stream, frame: Frame): void {
    socket.emit(...encode(frame, envelopeOf(stream)));
    if (isTerminal(frame.entry)) end(stream, 'detached');
  }

  function sendShort(stream: Stream, ref: number, frame: Frame): void {
    const chunk = encodeShort(ref, frame);
    if (chunk === undefined) sendNamed(stream, frame);
    else socket.emit(EVENT.shortChunk, ...chunk);
  }

  function sendAccepted(stream: Stream): void {
    const { offset, attempt } = stream.log.start ?? { offset: 0, attempt: 1 };
    const message: StreamAcceptedMessage = {
      type: EVENT.start,
      ...envelopeOf(stream),
      offset,
      attempt,
    };
    socket.emit(EVENT.start, message);
  }

  /**
   * Sends to a plain reader; see PROTOCOL.md, "Plain readers". `firstOffset` is that of the log entry which
   * StreamAcceptedMessage covers; undefined for a reader that resumes above it.
   */
  function plainSender(stream: Stream, firstOffset: number | undefined): (frame: Frame) => void {
    /** Of the text that the reader concatenates; unknown if it resumes. */
    let units = firstOffset === undefined ? undefined : 0;
    return (frame) => {
      const { offset, size, entry } = frame;
      const isFirst = offset === firstOffset;
      if (isFirst && entry.type === 'start') return;
      if (entry.type === 'start' && units !== undefined && units > 0) {
        // It came after the failure of the attempt before, which would have ended the stream.
        const { reason: message = 'unable to finish the answer', reasonCode } = entry;
        const code = reasonCode ?? 'provider_unavailable';
        sendNamed(stream, { offset, size, entry: { type: 'error', code, message } });
        return sendIncomplete(stream, code, units);
      }
      if (entry.type === 'text' && units !== undefined) units += size;
      const isMoved = isFirst && entry.type === 'error';
      sendNamed(stream, isMoved ? { ...frame, offset: offset + 1 } : frame);
      if (entry.type === 'error') sendIncomplete(stream, entry.code, units);
    };
  }

  function sendIncomplete(
    stream: Stream,
    code: ErrorCode,
    units: number = stream.log.textLength,
  ): void {
    const message: StreamIncompleteMessage = {
      type: EVENT.end,
      complete: false,
      total_length: units,
      ...envelopeOf(stream),
      code,
    };
    socket.emit(EVENT.end, message);
  }

  function end(stream: Stream, how: Leaving): void {
    const subscription = subscriptions.get(stream);
    subscriptions.delete(stream);
    subscription?.leave(how);
  }

  /** A subscription of a closed reader would keep its stream in memory as long as the connection lasts. */
  function forget(stream: Stream, reader: Flushable): void {
    backpressure.forget(reader);
    if (subscriptions.get(stream)?.reader !== reader) return;
    subscriptions.delete(stream);
    takenOver.add(stream);
  }

  return {
    subscribe(stream, { offset, window, readerId }) {
      const { log } = stream;
      const before = subscriptions.get(stream);
      const ref = window === undefined ? undefined : ++lastRef;
      const isPlain = ref === undefined;
      // A plain reader has the log's first entry, or that of the newest attempt, by StreamAcceptedMessage.
      const isNew = isPlain && offset === 0;
      const firstOffset = isNew
        ? (log.start?.offset ?? 0)
        : isPlain && offset === 1
          ? 0
          : undefined;
      const from = Math.min(firstOffset ?? offset, log.head);
      const sendToPlain = plainSender(stream, firstOffset);
      const send = (frame: Frame): void => {
        if (ref === undefined) sendToPlain(frame);
        else sendShort(stream, ref, frame);
      };
      const subscription = stream.read(
        { offset: from, window, readerId },
        {
          writable: backpressure.writable,
          ...(isNew && { begin: () => sendAccepted(stream) }),
          send,
          sendAhead: (ahead) => socket.emit(EVENT.queued, encodeAhead(ahead, envelopeOf(stream))),
          drop: (sent, reason = DROPPED) => send({ offset: sent, size: 1, entry: reason }),
          forget: (reader) => forget(stream, reader),
        },
      );
      subscriptions.set(stream, subscription);
      takenOver.delete(stream);
      before?.leave('detached');
      // A reader that has everything gets no terminal message, which would end its subscription.
      if (log.done && from === log.head) {
        end(stream, 'detached');
        const last = log.read(log.head - 1, 1)?.entry;
        // After the reply.
        if (isPlain && last?.type === 'error') process.nextTick(sendIncomplete, stream, last.code);
      }
      return ref;
    },
    ack: (stream, offset) => subscriptions.get(stream)?.reader.ack(offset),
    unsubscribe(stream, readerId) {
      if (subscriptions.has(stream)) end(stream, 'detached');
      else if (!takenOver.delete(stream)) stream.giveUp(readerId);
    },
    disconnect() {
      for (const stream of subscriptions.keys()) end(stream, 'lost');
      backpressure.close();
    },
  };
}
