import type { Attempt, End, LogSegment, ToolEntry } from '../connection/log-segment.js';
import { sha256 } from '../digest.js';
import type {
  AnswerSource,
  LoadingModel,
  ResponseEvent,
  ToolDecisionEvent,
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
  /** The log entries about tool calls, of all attempts. */
  readonly toolEntries: readonly ToolEntry[];
  /** The tool calls that `toolEntries` lead to. */
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
  toolEntries: [],
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
    const { thoughts, toolEntries, tools, attempt, terminal } = state;
    const text = offset === state.offset ? entry.text : entry.text.slice(state.offset - offset);
    return {
      // Copied field by field, because this runs for each token.
      received: {
        offset: offset + size,
        text: state.text + text,
        thoughts,
        toolEntries,
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
      const received = {
        ...withToolsAtStart(next, offset),
        text: '',
        thoughts: '',
        attempt: entry,
      };
      return { received, events: [startEvent(entry, sourceOf(entry))] };
    }
    case 'thought':
      return { received: { ...next, thoughts: state.thoughts + entry.text }, events: [entry] };
    case 'tool_call':
    case 'tool_decision':
    case 'tool_result': {
      const added = { offset, event: entry, textBefore: state.text.length };
      const toolEntries = [...state.toolEntries, added];
      return {
        received: { ...next, toolEntries, tools: addToolEntry(state.tools, added) },
        events: [entry],
      };
    }
    case 'end':
    case 'error':
      return { received: { ...next, terminal: entry }, events: NO_EVENTS };
  }
}

/** @returns where the text of an attempt comes from, if this browser has not cached it. */
export function sourceOf({ source }: Attempt): 'server-cache' | 'model' {
  return source === 'cache' ? 'server-cache' : 'model';
}

export function startEvent(
  { attempt, provider, model, reason, omittedMessages }: Omit<Attempt, 'source'>,
  source: AnswerSource,
): ResponseEvent {
  return {
    type: 'start',
    attempt,
    source,
    provider,
    model,
    ...(reason !== undefined && { reason }),
    ...(omittedMessages > 0 && { omittedMessages }),
  };
}

/**
 * A further attempt that begins at `offset` keeps the tool calls and their results below it; the calls precede all
 * of its text. Those at or above it were of an attempt that the log no longer has.
 */
function withToolsAtStart(state: ReceivedAnswer, offset: number): ReceivedAnswer {
  const toolEntries = state.toolEntries
    .filter((each) => each.offset < offset)
    .map((each) => ({ ...each, textBefore: 0 }));
  return { ...state, toolEntries, tools: toolsOf(toolEntries) };
}

/** @returns the tool calls that these entries lead to. */
export function toolsOf(entries: readonly ToolEntry[]): readonly ToolUse[] {
  return entries.reduce(addToolEntry, NOTHING_RECEIVED.tools);
}

function addToolEntry(
  tools: readonly ToolUse[],
  { event, textBefore }: ToolEntry,
): readonly ToolUse[] {
  if (event.type === 'tool_call') {
    const { type: _, ...call } = event;
    const status = call.awaits ? 'awaiting' : 'running';
    return Object.freeze([...tools, Object.freeze({ ...call, status, textBefore } as const)]);
  }
  const change = changeOf(event);
  return Object.freeze(
    tools.map((use) => (use.callId === event.callId ? Object.freeze({ ...use, ...change }) : use)),
  );
}

function changeOf(event: ToolDecisionEvent | ToolResultEvent): Partial<ToolUse> {
  if (event.type === 'tool_decision') return { status: 'running', approved: event.approved };
  const { result, error } = event;
  return error === undefined ? { status: 'done', result } : { status: 'failed', error };
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
