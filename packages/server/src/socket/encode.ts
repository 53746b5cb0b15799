import {
  ERRORS,
  EVENT,
  type ShortChunk,
  type StreamError,
  type LogMessage,
  type StreamLoadingMessage,
  type StreamQueuedMessage,
  type WireError,
} from '@rivulet/protocol';
import type { LogSlice } from '../deliver/log.js';
import type { NewsEntry } from '../entry.js';
import type { ListedStream } from '../deliver/stream.js';

/** The ids of the stream in each message. */
export interface Envelope {
  stream_id: string;
  session_id?: string;
}

/** An encoded entry: the event's name and its message. */
export type Encoded = [event: LogMessage['type'], message: LogMessage];

/**
 * Encodes a slice of the log. `omittedByClient` is the number of messages that the stream's client left out.
 */
export function encode(
  { offset, entry }: LogSlice,
  envelope: Envelope,
  omittedByClient = 0,
): Encoded {
  switch (entry.type) {
    case 'start': {
      const { attempt, source, provider, model, reason } = entry;
      const omitted = omittedByClient + (entry.omittedMessages ?? 0);
      const message = {
        attempt,
        source,
        provider,
        model,
        ...(reason && { reason }),
        ...(omitted > 0 && { omitted_messages: omitted }),
      };
      return [EVENT.start, { type: EVENT.start, ...envelope, offset, ...message }];
    }
    case 'text':
      return [EVENT.chunk, { type: EVENT.chunk, data: entry.text, ...envelope, offset }];
    case 'thought':
      return [EVENT.thought, { type: EVENT.thought, data: entry.text, ...envelope, offset }];
    case 'tool_call': {
      const { callId: call_id, name, arguments: args, awaits, timeoutMs } = entry;
      const message = {
        phase: 'call',
        call_id,
        name,
        arguments: args,
        ...(awaits !== undefined && { awaits }),
        ...(timeoutMs !== undefined && { timeout_ms: timeoutMs }),
      } as const;
      return [EVENT.tool, { type: EVENT.tool, ...envelope, offset, ...message }];
    }
    case 'tool_decision': {
      const { callId: call_id, name, approved } = entry;
      const message = { phase: 'decision', call_id, name, approved } as const;
      return [EVENT.tool, { type: EVENT.tool, ...envelope, offset, ...message }];
    }
    case 'tool_result': {
      const { callId: call_id, name } = entry;
      const outcome = 'error' in entry ? { error: entry.error } : { result: entry.result };
      const message = { phase: 'result', call_id, name, ...outcome } as const;
      return [EVENT.tool, { type: EVENT.tool, ...envelope, offset, ...message }];
    }
    case 'end':
      return [
        EVENT.end,
        {
          type: EVENT.end,
          complete: true,
          total_length: entry.totalLength,
          ...envelope,
          offset,
          source: entry.source,
          provider: entry.provider,
          model: entry.model,
          finish_reason: entry.finishReason,
          digest: entry.digest,
          usage: entry.usage,
          timing: entry.timing,
        },
      ];
    case 'error': {
      const { code, message, retryAfterMs } = entry;
      const error = wireError({ code, message, retryAfterMs });
      return [EVENT.error, { type: EVENT.error, ...envelope, offset, ...error }];
    }
  }
}

export function encodeNews(
  news: NewsEntry,
  envelope: Envelope,
): StreamQueuedMessage | StreamLoadingMessage {
  if (news.type === 'queued') return { type: EVENT.queued, ...envelope, ahead: news.ahead };
  const { provider, model } = news;
  return { type: EVENT.loading, ...envelope, provider, model };
}

export function envelopeOf({ id, sessionId }: Pick<ListedStream, 'id' | 'sessionId'>): Envelope {
  return { stream_id: id, ...(sessionId !== undefined && { session_id: sessionId }) };
}

/** @returns the short form of text; undefined for other entries. */
export function encodeShort(ref: number, { offset, entry }: LogSlice): ShortChunk | undefined {
  return entry.type === 'text' ? [ref, offset, entry.text] : undefined;
}

/** @returns the event of `encodeShort()` as JSON. The text is encoded once for all readers of the slice. */
export function shortJson(ref: number, slice: LogSlice): string {
  const { offset, entry } = slice;
  slice.json ??= JSON.stringify(entry.type === 'text' ? entry.text : undefined);
  return `["${EVENT.shortChunk}",${ref},${offset},${slice.json}]`;
}

export function wireError(
  error: Pick<StreamError, 'code' | 'message'> & { retryAfterMs?: number | undefined },
): WireError {
  return {
    code: error.code,
    message: error.message,
    retryable: ERRORS[error.code].retryable,
    ...(error.retryAfterMs !== undefined && { retry_after_ms: error.retryAfterMs }),
  };
}
