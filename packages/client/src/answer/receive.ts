import type { Attempt, End, Frame } from '../connection/frame.js';
import { sha256 } from '../digest.js';
import type { ToolCallEvent, ToolResultEvent, ToolUse } from '../types.js';

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
