import { randomUUID } from 'node:crypto';
import {
  EVENT,
  type StreamChunkMessage,
  type StreamEndMessage,
  type StreamErrorMessage,
  type StreamReply,
  type StreamStartMessage,
} from '@rivulet/protocol';
import { io, type Socket } from 'socket.io-client';
import type { Watch } from './watch.js';

interface PlainStream {
  id: string;
  query: string;
  offset: number;
  text: string;
  isKnown: boolean;
  watch: Watch;
  done: () => void;
}

/** A client of PROTOCOL.md with nothing but Socket.IO; it knows offsets, and has no window. */
export interface PlainReader {
  /** Resolves when the answer ended. */
  ask(query: string, watch: Watch): Promise<void>;
  close(): void;
}

export function createPlainReader(url: string): PlainReader {
  const streams = new Map<string, PlainStream>();
  const socket: Socket = io(url, {
    auth: { browser_id: randomUUID() },
    forceNew: true,
    transports: ['websocket'],
    reconnectionDelay: 300,
    reconnectionDelayMax: 1_000,
    // Until then Socket.IO does not notice that a connection closed before its handshake.
    timeout: 1_000,
  });

  async function open(stream: PlainStream): Promise<void> {
    const { id: stream_id, query, offset, isKnown } = stream;
    const [event, message] = isKnown
      ? [EVENT.resume, { stream_id, offset }]
      : [EVENT.start, { stream_id, query, options: { cache: 'no-store' } }];
    if (!socket.connected) return;
    socket.emit(event, message, (reply: StreamReply) => {
      if (!reply.ok) stream.watch.violation(`refused: ${JSON.stringify(reply)}`);
      stream.isKnown = true;
    });
  }

  /** The part of a message that is new; undefined for none. */
  function fresh(id: string | undefined, offset: number | undefined, size: number) {
    const stream = streams.get(id ?? '');
    if (stream === undefined || offset === undefined) return undefined;
    if (offset > stream.offset) {
      // On one connection nothing is ever missing.
      stream.watch.violation(`a gap: at ${stream.offset}, got ${offset}`);
      return undefined;
    }
    if (offset + size <= stream.offset) return undefined;
    const known = stream.offset - offset;
    stream.offset = offset + size;
    return { stream, known };
  }

  function end({ id, text, watch, done }: PlainStream, status: string): void {
    streams.delete(id);
    watch.ended(status, text);
    done();
  }

  socket.on('connect', () => {
    for (const stream of streams.values()) void open(stream);
  });
  socket.on(EVENT.start, ({ stream_id, offset, attempt }: StreamStartMessage) => {
    const found = fresh(stream_id, offset, 1);
    if (found && attempt !== 1) found.stream.watch.violation(`attempt ${attempt}`);
  });
  socket.on(EVENT.chunk, ({ stream_id, offset, data }: StreamChunkMessage) => {
    const found = fresh(stream_id, offset, data.length);
    if (!found) return;
    found.stream.text += data.slice(found.known);
    found.stream.watch.text(found.stream.text);
  });
  socket.on(EVENT.end, ({ stream_id, offset }: StreamEndMessage) => {
    const found = fresh(stream_id, offset, 1);
    if (found) end(found.stream, 'done');
  });
  socket.on(EVENT.error, ({ stream_id, code }: StreamErrorMessage) => {
    const stream = streams.get(stream_id ?? '');
    if (stream) end(stream, code);
  });

  return {
    ask(query, watch) {
      return new Promise((done) => {
        const id = randomUUID();
        const stream = { id, query, offset: 0, text: '', isKnown: false, watch, done };
        streams.set(id, stream);
        void open(stream);
      });
    },
    close: () => void socket.disconnect(),
  };
}
