import type { Attempt, End, Frame } from '../connection/frame.js';
import { sha256 } from '../digest.js';
import type {
  LoadingModel,
  ResponseEvent,
  ToolCallEvent,
  ToolResultEvent,
  ToolUse,
} from '../types.js';

/** All that was received of one stream. */
export interface Received {
  /** Everything below it is here. */
  readonly offset: number;
  /** The text of the attempt under way. */
  readonly text: string;
  /** The thoughts of the attempt under way. */
  readonly thoughts: string;
  /** Of all attempts. */
  readonly tools: readonly ToolUse[];
  readonly attempt: Attempt | undefined;
  /** The number of requests ahead in a queue; 0 when the stream is in none. */
  readonly ahead: number;
  /** The model that is being loaded; undefined for none. */
  readonly loading: LoadingModel | undefined;
  readonly terminal: Extract<Frame['entry'], { type: 'end' | 'error' }> | undefined;
}

export const NOTHING: Received = {
  offset: 0,
  text: '',
  thoughts: '',
  tools: Object.freeze([]),
  attempt: undefined,
  ahead: 0,
  loading: undefined,
  terminal: undefined,
};

/** The result of adding a frame to an answer. */
export interface Step {
  received: Received;
  /** The events of the frame. The end of the log has none, because the text is not verified yet. */
  events: readonly ResponseEvent[];
}

const NO_EVENTS: readonly ResponseEvent[] = [];

/**
 * Adds a frame: drops what is here already, takes the new part of an overlap. Where something between
 * is missing it is a `gap`, and nothing changes. A newer attempt replaces what is here from its offset on.
 *
 * @returns undefined if the frame has nothing new.
 */
export function receive(state: Received, { offset, size, entry }: Frame): Step | 'gap' | undefined {
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
      const tools = atTheStart(state.tools);
      const received = { ...next, text: '', thoughts: '', tools, attempt: entry };
      return { received, events: [startOf(entry)] };
    }
    case 'thought':
      return { received: { ...next, thoughts: state.thoughts + entry.text }, events: [entry] };
    case 'tool_call':
      return { received: { ...next, tools: withCall(state, entry) }, events: [entry] };
    case 'tool_decision': {
      const { callId, approved } = entry;
      const tools = withChange(state.tools, callId, { status: 'running', approved });
      return { received: { ...next, tools }, events: [entry] };
    }
    case 'tool_result':
      return { received: { ...next, tools: withResult(state.tools, entry) }, events: [entry] };
    case 'end':
    case 'error':
      return { received: { ...next, terminal: entry }, events: NO_EVENTS };
  }
}

function startOf(entry: Attempt): ResponseEvent {
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

/** A further attempt keeps the results of the tools. Their calls precede all of its text. */
function atTheStart(tools: readonly ToolUse[]): readonly ToolUse[] {
  if (tools.every(({ textBefore }) => textBefore === 0)) return tools;
  return Object.freeze(tools.map((use) => Object.freeze({ ...use, textBefore: 0 })));
}

function withCall(
  { tools, text }: Received,
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

function withResult(
  tools: readonly ToolUse[],
  { callId, result, error }: ToolResultEvent,
): readonly ToolUse[] {
  return withChange(
    tools,
    callId,
    error === undefined ? { status: 'done', result } : { status: 'failed', error },
  );
}

function withChange(
  tools: readonly ToolUse[],
  callId: string,
  change: Partial<ToolUse>,
): readonly ToolUse[] {
  return Object.freeze(
    tools.map((use) => (use.callId === callId ? Object.freeze({ ...use, ...change }) : use)),
  );
}

/** The place in a queue. The next frame ends the wait. */
export function receiveAhead(state: Received, ahead: number): Received {
  return { ...state, ahead, loading: undefined };
}

/** The model is being loaded, until the next frame or news. */
export function receiveLoading(state: Received, loading: LoadingModel): Received {
  return { ...state, ahead: 0, loading };
}

/** As it was before the end came, to be read on from there. */
export function withoutEnd(state: Received): Received {
  return state.terminal ? { ...state, offset: state.offset - 1, terminal: undefined } : state;
}

/** @returns true if `text` has the length and, where the page can compute it, the digest that the server sent. */
export async function isWhole(text: string, { totalLength, digest }: End): Promise<boolean> {
  return text.length === totalLength && ((await sha256(text)) ?? digest) === digest;
}
