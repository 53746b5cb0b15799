import type { ErrorCode, FinishReason, Source, Timing, Usage } from '@rivulet/protocol';
import type { Awaits, StoredReply } from './tool-replies.js';

/** The beginning of an attempt. It discards the text of the attempt before. */
export interface StartEntry {
  type: 'start';
  /** 1 for the first. */
  attempt: number;
  source: Source;
  provider: string;
  model: string;
  /** The reason for a further attempt, as a sentence and as a code; absent for the first. */
  reason?: string;
  reasonCode?: ErrorCode;
  /**
   * The number of the oldest messages that the provider left out because they did not fit; absent for none.
   */
  omittedMessages?: number;
}

/** A piece of the answer, never empty. */
export interface TextEntry {
  type: 'text';
  text: string;
}

/**
 * A piece of the model's thinking: never empty, at most `LIMITS.thoughtUnits` UTF-16 units, and never part of
 * the answer. It belongs to the current attempt.
 */
export interface ThoughtEntry {
  type: 'thought';
  text: string;
}

/** A call of a tool by the model. The tool now runs, or waits for a client. */
export interface ToolCallEntry {
  type: 'tool_call';
  /** Unique within the answer. */
  callId: string;
  /** The name that the model gave. There may be no such tool. */
  name: string;
  /** The arguments that the model gave, as JSON. They are not validated. */
  arguments: unknown;
  /** The kind of reply that a client has to send before the call continues; absent for none. */
  awaits?: Awaits;
  /** The milliseconds for which the call waits; present with `awaits`. */
  timeoutMs?: number;
}

/** The user's decision about a call that needs approval. */
export interface ToolDecisionEntry {
  type: 'tool_decision';
  callId: string;
  name: string;
  approved: boolean;
}

/** The end of a call: its result as JSON, or an error message. */
export type ToolResultEntry = {
  type: 'tool_result';
  callId: string;
  name: string;
} & ({ result: unknown } | { error: string });

/** The answer is complete. */
export interface EndEntry {
  type: 'end';
  /** The source, provider and model of the last attempt. */
  source: Source;
  provider: string;
  model: string;
  finishReason: FinishReason;
  /** UTF-16 units of the last attempt's text. */
  totalLength: number;
  /** SHA-256 of that text in UTF-8, in hexadecimal. */
  digest: string;
  usage: Usage;
  timing: Timing;
}

/** The answer failed. The text so far remains. */
export interface ErrorEntry {
  type: 'error';
  code: ErrorCode;
  message: string;
  retryAfterMs?: number;
}

/**
 * The entries of a response: a `start` for each attempt, thoughts if requested, text, tool calls and their
 * results, and exactly one `end` or `error` as the last. A further attempt restarts the thoughts and the
 * text. It does not run the tools again.
 */
export type Entry =
  | StartEntry
  | TextEntry
  | ThoughtEntry
  | ToolCallEntry
  | ToolDecisionEntry
  | ToolResultEntry
  | EndEntry
  | ErrorEntry;

/** The part of an answer that a lost process has generated. Another process continues from it. */
export interface ResumedAnswer {
  /** At least the number of the last attempt that it has shown. */
  attempt: number;
  rounds: readonly ToolRound[];
  /** The earlier replies of clients to calls that have neither a decision nor a result. */
  stored: ReadonlyMap<string, StoredReply>;
}

/** The calls of a turn, with their decisions and results. Only the last round may have a call without a result. */
export interface ToolRound {
  calls: readonly ToolCallEntry[];
  decisions: readonly ToolDecisionEntry[];
  results: readonly ToolResultEntry[];
}

/** The answer waits for a slot of a provider. This is a temporary status and not part of the response. */
export interface QueuedEntry {
  type: 'queued';
  /** The number of requests before this one; 0 when the request has a slot. */
  ahead: number;
}

/**
 * The provider loads the model into memory. This is a temporary status until the next entry, and not part of
 * the response. A `queued` with `ahead: 0` follows when the model is loaded.
 */
export interface LoadingEntry {
  type: 'loading';
  provider: string;
  model: string;
}

/** A temporary status until the next entry. Each one replaces the one before. */
export type NewsEntry = QueuedEntry | LoadingEntry;

/** The entries of `generateResponseStream`. The log stores only those of type `Entry`. */
export type StreamedEntry = Entry | NewsEntry;

/** Receives the entries of one answer. */
export interface EntrySink {
  /**
   * Writes an entry.
   *
   * @returns a promise if the sink is full. Write the next text after it has resolved.
   */
  write(entry: StreamedEntry): Promise<void> | undefined;
  /** @returns the text since the newest `start` entry. */
  readText(): string;
}

export function isTerminal(entry: Entry): entry is EndEntry | ErrorEntry {
  return entry.type === 'end' || entry.type === 'error';
}
