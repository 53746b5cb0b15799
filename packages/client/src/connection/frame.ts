import type {
  FinishReason,
  LogMessage,
  Source,
  StreamToolCallMessage,
  StreamToolDecisionMessage,
  StreamToolResultMessage,
  Timing,
  Usage,
  WireError,
} from '@rivulet/protocol';
import { ERRORS, EVENT } from '@rivulet/protocol';
import type { ToolCallEvent, ToolDecisionEvent, ToolResultEvent } from '../types.js';

/** What one message adds to a log; see PROTOCOL.md, "Offsets". */
export interface Frame {
  offset: number;
  /** Offset units that it covers. */
  size: number;
  entry:
    | ({ type: 'start' } & Attempt)
    | { type: 'text'; text: string }
    | { type: 'thought'; text: string }
    | ToolCallEvent
    | ToolDecisionEvent
    | ToolResultEvent
    | ({ type: 'end' } & End)
    | { type: 'error'; error: WireError };
}

export interface Attempt {
  attempt: number;
  source: Source;
  provider: string;
  model: string;
  reason: string | undefined;
  /** The oldest messages that the model was not given. */
  omittedMessages: number;
}

export interface End {
  finishReason: FinishReason;
  totalLength: number;
  digest: string;
  usage: Usage;
  timing: Timing;
}

/** A named message as a frame; undefined for one without an offset, which is not part of the log. */
export function decode(message: LogMessage): Frame | undefined {
  if (message.offset === undefined) return undefined;
  const { offset } = message;
  switch (message.type) {
    case EVENT.start: {
      const { attempt, source, provider, model, reason, omitted_messages = 0 } = message;
      return {
        offset,
        size: 1,
        entry: {
          type: 'start',
          attempt,
          source,
          provider,
          model,
          reason,
          omittedMessages: omitted_messages,
        },
      };
    }
    case EVENT.chunk:
      return {
        offset,
        size: message.data.length,
        entry: { type: 'text', text: message.data },
      };
    case EVENT.thought:
      return { offset, size: 1, entry: { type: 'thought', text: message.data } };
    case EVENT.tool:
      return { offset, size: 1, entry: toolEntry(message) };
    case EVENT.end: {
      const { finish_reason: finishReason, total_length: totalLength, ...rest } = message;
      const { digest, usage, timing } = rest;
      return {
        offset,
        size: 1,
        entry: { type: 'end', finishReason, totalLength, digest, usage, timing },
      };
    }
    case EVENT.error:
      return { offset, size: 1, entry: { type: 'error', error: knownError(message) } };
  }
}

/** A newer server may have codes that this client does not know; what it says of retrying counts. */
export function knownError(error: WireError): WireError {
  return Object.hasOwn(ERRORS, error.code) ? error : { ...error, code: 'internal' };
}

function toolEntry(
  message: StreamToolCallMessage | StreamToolDecisionMessage | StreamToolResultMessage,
): ToolCallEvent | ToolDecisionEvent | ToolResultEvent {
  const { call_id: callId, name } = message;
  switch (message.phase) {
    case 'call': {
      const { arguments: args, awaits, timeout_ms: timeoutMs } = message;
      return {
        type: 'tool_call',
        callId,
        name,
        arguments: args,
        ...(awaits && { awaits }),
        ...(timeoutMs && { timeoutMs }),
      };
    }
    case 'decision':
      return { type: 'tool_decision', callId, name, approved: message.approved };
    case 'result': {
      const { result, error } = message;
      return {
        type: 'tool_result',
        callId,
        name,
        ...(error === undefined ? { result } : { error }),
      };
    }
  }
}
