import { randomUUID } from 'node:crypto';
import {
  type DoneReply,
  type ErrorReply,
  EVENT,
  LIMITS,
  StreamError,
  type StreamListReply,
  type StreamOpenReply,
} from '@rivulet/protocol';
import {
  ackSchema,
  attachSchema,
  cancelSchema,
  detachSchema,
  listSchema,
  startSchema,
} from '@rivulet/protocol/schema';
import type { Server, Socket } from 'socket.io';
import type * as z from 'zod';
import type { Stream } from '../deliver/stream.js';
import type { Streams } from '../deliver/streams.js';
import type { Logger } from '../observe/logger.js';
import { type Envelope, envelopeOf, wireError } from './encode.js';
import { parse } from './parse.js';
import { principalOf } from './principal.js';
import { createSeats } from './seats.js';

/** Puts streams on a Socket.IO server: its messages in, their frames out. */
export function serveStreams(io: Server, streams: Streams, logger: Logger): void {
  io.on('connection', (socket) => serveSocket(socket, streams, logger));
}

type Reply = StreamOpenReply | StreamListReply | DoneReply;

function serveSocket(socket: Socket, streams: Streams, logger: Logger): void {
  const principal = principalOf(socket);
  const seats = createSeats(socket);

  /** `toReader` is how a refusal reaches a client that asked for no reply. */
  function on<T>(
    event: string,
    schema: z.ZodType<T>,
    carryOut: (message: T) => Reply,
    toReader?: (error: StreamError, raw: unknown) => void,
  ): void {
    socket.on(event, (raw: unknown, reply: unknown) => {
      const respond = typeof reply === 'function' ? reply : undefined;
      try {
        const done = carryOut(parse(schema, raw));
        respond?.(done);
      } catch (cause) {
        const error = asStreamError(cause);
        if (error.code === 'internal') logger.error({ event: 'SOCKET_MESSAGE_FAILED', err: cause });
        const refusal: ErrorReply = { ok: false, error: wireError(error) };
        if (respond) respond(refusal);
        else toReader?.(error, raw);
      }
    });
  }

  function open(stream: Stream, offset: number, window: number | undefined): StreamOpenReply {
    if (offset > stream.log.head) {
      throw new StreamError(
        'bad_request',
        `unable to read from offset ${offset}: the stream ends at ${stream.log.head} so far`,
      );
    }
    const ref = seats.sit(stream, offset, window);
    return { ok: true, stream_id: stream.id, ...(ref !== undefined && { ref }) };
  }

  function refuse(error: StreamError, raw: unknown): void {
    socket.emit(EVENT.error, { type: EVENT.error, ...claimedEnvelope(raw), ...wireError(error) });
  }

  on(
    EVENT.start,
    startSchema,
    ({ stream_id: id = randomUUID(), session_id: sessionId, window, ...asked }) => {
      const { query, intent, context, options } = asked;
      const request = {
        query,
        ...(intent && { intent }),
        ...(context && { context }),
        ...(options && { options }),
        principal,
      };
      return open(streams.start({ principal, id, sessionId, request }), 0, window);
    },
    refuse,
  );
  on(
    EVENT.attach,
    attachSchema,
    ({ stream_id, offset, window }) => open(streams.get(principal, stream_id), offset, window),
    refuse,
  );
  on(EVENT.ack, ackSchema, ({ stream_id, offset }) => {
    seats.ack(streams.get(principal, stream_id), offset);
    return { ok: true };
  });
  on(EVENT.cancel, cancelSchema, ({ stream_id }) => {
    streams.cancel(streams.get(principal, stream_id));
    return { ok: true };
  });
  on(EVENT.detach, detachSchema, ({ stream_id }) => {
    seats.leave(streams.get(principal, stream_id));
    return { ok: true };
  });
  on(EVENT.list, listSchema, () => ({
    ok: true,
    streams: streams.running(principal).flatMap((stream) => {
      const { status } = stream;
      if (status === 'ended') return [];
      return [
        {
          ...envelopeOf(stream),
          query: stream.request.query,
          status,
          offset: stream.log.head,
        },
      ];
    }),
  }));

  socket.on('disconnect', () => seats.loseAll());
}

/** The names in a refused message, so that its sender knows which of its requests it was. */
function claimedEnvelope(raw: unknown): Partial<Envelope> {
  const envelope: Partial<Envelope> = {};
  if (typeof raw !== 'object' || raw === null) return envelope;
  for (const name of ['stream_id', 'session_id'] as const) {
    const value: unknown = (raw as Partial<Record<string, unknown>>)[name];
    if (typeof value === 'string' && value.length <= LIMITS.idUnits) envelope[name] = value;
  }
  return envelope;
}

function asStreamError(cause: unknown): StreamError {
  if (cause instanceof StreamError) return cause;
  return new StreamError('internal', 'unable to carry out the request: the server failed', {
    cause,
  });
}
