import type { Attempt, End, LogSegment } from '../connection/log-segment.js';
import { sha256 } from '../digest.js';
import type {
  LoadingModel,
  ResponseEvent,
  ToolCallEvent,
  ToolResultEvent,
  ToolUse,
} from '../types.js';

/** The part of one stream that was received. */
export interface ReceivedAnswer {
  /** All entries below this offset were received. */
  readonly offset: number;
  /** The text of the current attempt. */
  readonly text: string;
  /** The thoughts of the current attempt. */
  readonly thoughts: string;
  /** The tool calls of all attempts. */
  readonly tools: readonly ToolUse[];
  readonly attempt: Attempt | undefined;
  /** The number of requests ahead in a queue; 0 while the stream is not queued. */
  readonly ahead: number;
  /** The model that is being loaded; undefined while none is. */
  readonly loading: LoadingModel | undefined;
  readonly terminal: Extract<LogSegment['entry'], { type: 'end' | 'error' }> | undefined;
}

export const NOTHING_RECEIVED: ReceivedAnswer = {
  offset: 0,
  text: '',
  thoughts: '',
  tools: Object.freeze([]),
  attempt: undefined,
  ahead: 0,
  loading: undefined,
  terminal: undefined,
};

/** The result of adding a log segment. */
export interface ReceiveResult {
  received: ReceivedAnswer;
  /** The events of the segment. The end of the log has none, because the text is not verified yet. */
  events: readonly ResponseEvent[];
}

const NO_EVENTS: readonly ResponseEvent[] = [];

/**
 * Adds a log segment. Of an overlap, only the new part is added. A newer attempt replaces the text.
 *
 * @returns `gap` if entries before the segment are missing; undefined if the segment has nothing new.
 */
export function receive(
  state: ReceivedAnswer,
  { offset, size, entry }: LogSegment,
): ReceiveResult | 'gap' | undefined {
  if (offset > state.offset) return 'gap';
  const isNewAttempt = entry.type === 'start' && entry.attempt > (state.attempt?.attempt ?? 0);
  if (offset + size <= state.offset && !isNewAttempt) return undefined;
  if (entry.type === 'text') {
    const { thoughts, tools, attempt, terminal } = state;
    const text = offset === state.offset ? entry.text : entry.text.slice(state.offset - offset);
    return {
      // Copied field by field, because this runs for each token.
      received: {
        offset: offset + size,
        text: state.text + text,
        thoughts,
        tools,
        attempt,
        ahead: 0,
        loading: undefined,
        terminal,
      },
      events: [{ type: 'text', text }],
    };
  }
  const next = { ...state, offset: offset + size, ahead: 0, loading: undefined };
  switch (entry.type) {
    case 'start': {
      const tools = withToolsAtStart(state.tools);
      const received = { ...next, text: '', thoughts: '', tools, attempt: entry };
      return { received, events: [startEvent(entry)] };
    }
    case 'thought':
      return { received: { ...next, thoughts: state.thoughts + entry.text }, events: [entry] };
    case 'tool_call':
      return { received: { ...next, tools: addCall(state, entry) }, events: [entry] };
    case 'tool_decision': {
      const { callId, approved } = entry;
      const tools = updateCall(state.tools, callId, { status: 'running', approved });
      return { received: { ...next, tools }, events: [entry] };
    }
    case 'tool_result':
      return { received: { ...next, tools: addResult(state.tools, entry) }, events: [entry] };
    case 'end':
    case 'error':
      return { received: { ...next, terminal: entry }, events: NO_EVENTS };
  }
}

function startEvent(entry: Attempt): ResponseEvent {
  const { attempt, source, provider, model, reason, omittedMessages } = entry;
  return {
    type: 'start',
    attempt,
    source: source === 'cache' ? 'server-cache' : 'model',
    provider,
    model,
    ...(reason !== undefined && { reason }),
    ...(omittedMessages > 0 && { omittedMessages }),
  };
}

/** A further attempt keeps the tool results; their calls precede all of its text. */
function withToolsAtStart(tools: readonly ToolUse[]): readonly ToolUse[] {
  if (tools.every(({ textBefore }) => textBefore === 0)) return tools;
  return Object.freeze(tools.map((use) => Object.freeze({ ...use, textBefore: 0 })));
}

function addCall(
  { tools, text }: ReceivedAnswer,
  { callId, name, arguments: args, awaits, timeoutMs }: ToolCallEvent,
): readonly ToolUse[] {
  const use: ToolUse = {
    callId,
    name,
    arguments: args,
    status: awaits ? 'awaiting' : 'running',
    ...(awaits && { awaits }),
    ...(timeoutMs && { timeoutMs }),
    textBefore: text.length,
  };
  return Object.freeze([...tools, Object.freeze(use)]);
}

function addResult(
  tools: readonly ToolUse[],
  { callId, result, error }: ToolResultEvent,
): readonly ToolUse[] {
  return updateCall(
    tools,
    callId,
    error === undefined ? { status: 'done', result } : { status: 'failed', error },
  );
}

function updateCall(
  tools: readonly ToolUse[],
  callId: string,
  change: Partial<ToolUse>,
): readonly ToolUse[] {
  return Object.freeze(
    tools.map((use) => (use.callId === callId ? Object.freeze({ ...use, ...change }) : use)),
  );
}

/** Sets the position in the queue. The next segment clears it. */
export function receiveQueued(state: ReceivedAnswer, ahead: number): ReceivedAnswer {
  return { ...state, ahead, loading: undefined };
}

/** Sets the model that is being loaded. The next segment or queue position clears it. */
export function receiveLoading(state: ReceivedAnswer, loading: LoadingModel): ReceivedAnswer {
  return { ...state, ahead: 0, loading };
}

/** @returns the state before the end of the log, so that reading can resume there. */
export function withoutEnd(state: ReceivedAnswer): ReceivedAnswer {
  return state.terminal ? { ...state, offset: state.offset - 1, terminal: undefined } : state;
}

/** @returns true if `text` has the length and, where the page can compute it, the digest that the server sent. */
export async function isIntact(text: string, { totalLength, digest }: End): Promise<boolean> {
  return text.length === totalLength && ((await sha256(text)) ?? digest) === digest;
}
