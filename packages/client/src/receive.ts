import type {
  FinishReason,
  ShortChunk,
  Source,
  LogMessage,
  StreamToolCallMessage,
  StreamToolResultMessage,
  Timing,
  Usage,
  WireError,
} from '@rivulet/protocol';
import { ERRORS, EVENT } from '@rivulet/protocol';
import { sha256 } from './digest.js';
import type { ToolCallEvent, ToolResultEvent, ToolUse } from './types.js';

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
}

export interface End {
  finishReason: FinishReason;
  totalLength: number;
  digest: string;
  usage: Usage;
  timing: Timing;
}

/** All that was received of one stream. */
export interface Received {
  /** Everything below it is here. */
  readonly offset: number;
  /** The text of the attempt under way. */
  readonly text: string;
  /** Of all attempts. */
  readonly tools: readonly ToolUse[];
  readonly attempt: Attempt | undefined;
  /** How many are ahead in a queue; 0 when it is in none. */
  readonly ahead: number;
  readonly terminal: Extract<Frame['entry'], { type: 'end' | 'error' }> | undefined;
}

export const NOTHING: Received = {
  offset: 0,
  text: '',
  tools: Object.freeze([]),
  attempt: undefined,
  ahead: 0,
  terminal: undefined,
};

/**
 * Adds a frame: drops what is here already, takes the new part of an overlap. Where something between
 * is missing it is a `gap`, and nothing changes.
 */
export function receive(state: Received, { offset, size, entry }: Frame): Received | 'gap' {
  if (offset > state.offset) return 'gap';
  if (offset + size <= state.offset) return state;
  if (entry.type === 'text') {
    const { tools, attempt, terminal } = state;
    // Where the frame overlaps what is here, its beginning is left out.
    const added = offset === state.offset ? entry.text : entry.text.slice(state.offset - offset);
    const text = state.text + added;
    return { offset: offset + size, text, tools, attempt, ahead: 0, terminal };
  }
  const next = { ...state, offset: offset + size, ahead: 0 };
  switch (entry.type) {
    case 'start':
      return { ...next, text: '', tools: atTheStart(state.tools), attempt: entry };
    case 'thought':
      return next;
    case 'tool_call':
      return { ...next, tools: withCall(state, entry) };
    case 'tool_result':
      return { ...next, tools: withResult(state.tools, entry) };
    case 'end':
    case 'error':
      return { ...next, terminal: entry };
  }
}

/** What the tools found holds for the text that begins now, too. */
function atTheStart(tools: readonly ToolUse[]): readonly ToolUse[] {
  if (tools.every(({ textBefore }) => textBefore === 0)) return tools;
  return Object.freeze(tools.map((use) => Object.freeze({ ...use, textBefore: 0 })));
}

function withCall(
  { tools, text }: Received,
  { callId, name, arguments: args }: ToolCallEvent,
): readonly ToolUse[] {
  const use = {
    callId,
    name,
    arguments: args,
    status: 'running',
    textBefore: text.length,
  } as const;
  return Object.freeze([...tools, Object.freeze(use)]);
}

function withResult(
  tools: readonly ToolUse[],
  { callId, result, error }: ToolResultEvent,
): readonly ToolUse[] {
  const outcome =
    error === undefined
      ? ({ status: 'done', result } as const)
      : ({ status: 'failed', error } as const);
  return Object.freeze(
    tools.map((use) => (use.callId === callId ? Object.freeze({ ...use, ...outcome }) : use)),
  );
}

/** The place in a queue. The next frame ends the wait. */
export function receiveAhead(state: Received, ahead: number): Received {
  return { ...state, ahead };
}

/** As it was before the end came, to be read on from there. */
export function withoutEnd(state: Received): Received {
  return state.terminal ? { ...state, offset: state.offset - 1, terminal: undefined } : state;
}

/** Whether `text` is what the server sent, as far as this page can tell. */
export async function isWhole(text: string, { totalLength, digest }: End): Promise<boolean> {
  return text.length === totalLength && ((await sha256(text)) ?? digest) === digest;
}

/** A named message as a frame; undefined for one without an offset, which is not part of the log. */
export function decode(message: LogMessage): Frame | undefined {
  if (message.offset === undefined) return undefined;
  const { offset } = message;
  switch (message.type) {
    case EVENT.start: {
      const { attempt, source, provider, model, reason } = message;
      return {
        offset,
        size: 1,
        entry: { type: 'start', attempt, source, provider, model, reason },
      };
    }
    case EVENT.chunk:
      return textFrame(offset, message.data);
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
  message: StreamToolCallMessage | StreamToolResultMessage,
): ToolCallEvent | ToolResultEvent {
  const { call_id: callId, name } = message;
  if (message.phase === 'call') {
    return { type: 'tool_call', callId, name, arguments: message.arguments };
  }
  const { result, error } = message;
  return { type: 'tool_result', callId, name, ...(error === undefined ? { result } : { error }) };
}

export function decodeShort([, offset, data]: ShortChunk): Frame {
  return textFrame(offset, data);
}

function textFrame(offset: number, text: string): Frame {
  return { offset, size: text.length, entry: { type: 'text', text } };
}
