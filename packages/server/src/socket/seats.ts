import { EVENT } from '@rivulet/protocol';
import type { Socket } from 'socket.io';
import type { Frame } from '../deliver/log.js';
import type { Leaving, Seat, Stream } from '../deliver/stream.js';
import { isTerminal } from '../entry.js';
import { encode, encodeAhead, encodeShort, envelopeOf } from './encode.js';
import { createOutlet } from './outlet.js';

/** The streams that one socket reads. A stream has one seat here; sitting again takes its place. */
export interface Seats {
  /** Sends the stream from `offset` on. With a window it gives the `ref` of the short chunks. */
  sit(stream: Stream, offset: number, window: number | undefined): number | undefined;
  ack(stream: Stream, offset: number): void;
  leave(stream: Stream): void;
  /** The connection broke: every reader may come back. */
  loseAll(): void;
}

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
    sit(stream, offset, window) {
      const before = seats.get(stream);
      const ref = window === undefined ? undefined : ++lastRef;
      const seat = stream.read(
        { offset, window },
        {
          writable: outlet.writable,
          send: (frame) =>
            ref === undefined ? sendNamed(stream, frame) : sendShort(stream, ref, frame),
          sendAhead: (ahead) => socket.emit(...encodeAhead(ahead, envelopeOf(stream))),
        },
      );
      seats.set(stream, seat);
      before?.leave('detached');
      return ref;
    },
    ack: (stream, offset) => seats.get(stream)?.reader.ack(offset),
    leave: (stream) => leave(stream, 'detached'),
    loseAll() {
      for (const stream of seats.keys()) leave(stream, 'lost');
      outlet.close();
    },
  };
}
