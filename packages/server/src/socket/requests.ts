import { randomUUID } from 'node:crypto';
import {
  type DoneReply,
  LIMITS,
  StreamError,
  type StreamListReply,
  type StreamReply,
} from '@rivulet/protocol';
import {
  ackSchema,
  resumeSchema,
  cancelSchema,
  detachSchema,
  startSchema,
} from '@rivulet/protocol/schema';
import type { Stream } from '../deliver/stream.js';
import type { Streams } from '../deliver/streams.js';
import { envelopeOf } from './encode.js';
import { parse } from './parse.js';
import type { Requester, RateLimits } from './rate-limits.js';
import type { Place, Seats } from './seats.js';

/** What one connection may ask for. Each takes a message as it came and throws a `StreamError`. */
export interface Requests {
  start(raw: unknown): Promise<StreamReply>;
  resume(raw: unknown): Promise<StreamReply>;
  ack(raw: unknown): DoneReply;
  cancel(raw: unknown): DoneReply;
  detach(raw: unknown): DoneReply;
  list(): StreamListReply;
}

export function createRequests(
  requester: Requester,
  streams: Streams,
  seats: Seats,
  limits: RateLimits,
): Requests {
  const { principal } = requester;

  function open(stream: Stream, place: Place): StreamReply {
    const { status, log } = stream;
    if (place.offset > log.head) {
      throw new StreamError(
        'bad_request',
        `unable to read from offset ${place.offset}: the stream ends at ${log.head} so far`,
      );
    }
    const ref = seats.sit(stream, place);
    return { ok: true, stream_id: stream.id, status, ...(ref !== undefined && { ref }) };
  }

  return {
    async start(raw) {
      const message = parse(startSchema, raw);
      const { stream_id: id = randomUUID(), session_id: sessionId, reader_id: readerId } = message;
      const { query, intent, context, options, window } = message;
      const request = {
        query,
        ...(intent && { intent }),
        ...(context && { context }),
        ...(options && { options }),
        principal,
      };
      const identity = { principal, id, sessionId, query: query.slice(0, LIMITS.listedQueryUnits) };
      if (!streams.has(principal, id)) await limits.start(requester);
      return open(streams.start(identity, request), { offset: 0, window, readerId });
    },
    async resume(raw) {
      const { stream_id, offset, window, reader_id: readerId } = parse(resumeSchema, raw);
      await limits.resume(requester);
      return open(streams.get(principal, stream_id), { offset, window, readerId });
    },
    ack(raw) {
      const { stream_id, offset } = parse(ackSchema, raw);
      seats.ack(streams.get(principal, stream_id), offset);
      return { ok: true };
    },
    cancel(raw) {
      streams.cancel(streams.get(principal, parse(cancelSchema, raw).stream_id));
      return { ok: true };
    },
    detach(raw) {
      const { stream_id, reader_id: readerId } = parse(detachSchema, raw);
      seats.leave(streams.get(principal, stream_id), readerId);
      return { ok: true };
    },
    list() {
      const summaries = streams.running(principal).map((stream) => ({
        ...envelopeOf(stream),
        query: stream.query,
        status: stream.status,
        offset: stream.log.head,
      }));
      return { ok: true, streams: summaries };
    },
  };
}
