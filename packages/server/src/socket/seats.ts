import { EVENT } from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { Frame } from '../deliver/log.js';
import type { Leaving, Seat, Stream } from '../deliver/stream.js';
import { type ErrorEntry, isTerminal } from '../entry.js';
import { encode, encodeAhead, encodeShort, envelopeOf } from './encode.js';
import { createOutlet } from './outlet.js';

/** Where a reader begins, how far it may get ahead of what it acknowledged, and its own name. */
export interface Place {
  offset: number;
  window: number | undefined;
  readerId: string | undefined;
}

/** The streams that one socket reads. A stream has one seat here; sitting again takes its place. */
export interface Seats {
  /** Whether replies pile up that the client does not read. */
  readonly isFlooded: boolean;
  /** Sends the stream from `offset` on. With a window it gives the `ref` of the short chunks. */
  sit(stream: Stream, place: Place): number | undefined;
  ack(stream: Stream, offset: number): void;
  /** Also of a reader that an earlier connection was. */
  leave(stream: Stream, readerId: string | undefined): void;
  /** The connection broke: every reader may come back. */
  loseAll(): void;
}

const DROPPED: ErrorEntry = {
  type: 'error',
  code: 'interrupted',
  message: 'unable to send the rest of the answer: the server had to drop it; ask again',
};

export function createSeats(socket: Socket): Seats {
  const outlet = createOutlet(socket);
  const seats = new Map<Stream, Seat>();
  let lastRef = 0;

  function sendNamed(stream: Stream, frame: Frame): void {
    socket.emit(...encode(frame, envelopeOf(stream)));
    if (isTerminal(frame.entry)) leave(stream, 'detached');
  }

  function sendShort(stream: Stream, ref: number, frame: Frame): void {
    const chunk = encodeShort(ref, frame);
    if (chunk === undefined) sendNamed(stream, frame);
    else socket.emit(EVENT.shortChunk, ...chunk);
  }

  function leave(stream: Stream, how: Leaving): void {
    seats.get(stream)?.leave(how);
    seats.delete(stream);
  }

  return {
    get isFlooded() {
      return outlet.isFlooded;
    },
    sit(stream, place) {
      const before = seats.get(stream);
      const ref = place.window === undefined ? undefined : ++lastRef;
      const seat = stream.read(place, {
        writable: outlet.writable,
        send: (frame) =>
          ref === undefined ? sendNamed(stream, frame) : sendShort(stream, ref, frame),
        sendAhead: (ahead) => socket.emit(...encodeAhead(ahead, envelopeOf(stream))),
        drop(offset) {
          seats.delete(stream);
          sendNamed(stream, { offset, size: 1, entry: DROPPED });
        },
      });
      seats.set(stream, seat);
      before?.leave('detached');
      // It has all there will ever be, so no terminal frame would end its seat.
      if (stream.log.done && place.offset === stream.log.head) leave(stream, 'detached');
      return ref;
    },
    ack: (stream, offset) => seats.get(stream)?.reader.ack(offset),
    leave(stream, readerId) {
      if (seats.has(stream)) leave(stream, 'detached');
      else stream.giveUp(readerId);
    },
    loseAll() {
      for (const stream of seats.keys()) leave(stream, 'lost');
      outlet.close();
    },
  };
}
