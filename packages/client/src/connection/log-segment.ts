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
import type { ToolCallEvent, ToolDecisionEvent, ToolResultEvent, ToolUse } from '../types.js';

/** The part of a log that one message carries; see PROTOCOL.md, "Offsets". */
export interface LogSegment {
  offset: number;
  /** The number of offset units that the entry covers. */
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
  /** The number of oldest messages that the model did not receive. */
  omittedMessages: number;
}

/** A log entry about a tool call. */
export interface ToolEntry {
  /** Its place in the log. */
  readonly offset: number;
  readonly event: ToolCallEvent | ToolDecisionEvent | ToolResultEvent;
  /** UTF-16 units of the text before the call. */
  readonly textBefore: number;
}

export interface End {
  finishReason: FinishReason;
  totalLength: number;
  digest: string;
  usage: Usage;
  timing: Timing;
}

/** @returns undefined for a message without an offset, which is not an entry of the log. */
export function decodeMessage(message: LogMessage): LogSegment | undefined {
  const { offset } = message;
  if (offset === undefined) return undefined;
  const entry = decodeEntry(message);
  return { offset, size: entry.type === 'text' ? entry.text.length : 1, entry };
}

function decodeEntry(message: LogMessage): LogSegment['entry'] {
  switch (message.type) {
    case EVENT.start: {
      const { attempt, source, provider, model, reason, omitted_messages = 0 } = message;
      const omittedMessages = omitted_messages;
      return { type: 'start', attempt, source, provider, model, reason, omittedMessages };
    }
    case EVENT.chunk:
      return { type: 'text', text: message.data };
    case EVENT.thought:
      return { type: 'thought', text: message.data };
    case EVENT.tool:
      return decodeToolEntry(message);
    case EVENT.end: {
      const { finish_reason: finishReason, total_length: totalLength, ...rest } = message;
      const { digest, usage, timing } = rest;
      return { type: 'end', finishReason, totalLength, digest, usage, timing };
    }
    case EVENT.error:
      return { type: 'error', error: toKnownError(message) };
  }
}

/** Replaces the code of a newer server that this client does not know; `retryable` stays as the server sent it. */
export function toKnownError(error: WireError): WireError {
  return Object.hasOwn(ERRORS, error.code) ? error : { ...error, code: 'internal' };
}

function decodeToolEntry(
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
    case 'result':
      return toolResult({ callId, name, result: message.result, error: message.error });
  }
}

/** @returns the event of a call that has ended. */
export function toolResult({
  callId,
  name,
  result,
  error,
}: Pick<ToolUse, 'callId' | 'name' | 'result'> & { error?: string | undefined }): ToolResultEvent {
  return { type: 'tool_result', callId, name, ...(error === undefined ? { result } : { error }) };
}
