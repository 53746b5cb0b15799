import type { ErrorCode, FinishReason, Source, Timing, Usage } from '@rivulet/protocol';
import type { Awaits, StoredReply } from './tool-replies.js';

/** An attempt begins; what text there was before it no longer counts. */
export interface StartEntry {
  type: 'start';
  /** 1 for the first. */
  attempt: number;
  source: Source;
  provider: string;
  model: string;
  /** Why there is another attempt, in plain words and as a code; absent for the first. */
  reason?: string;
  reasonCode?: ErrorCode;
  /** The oldest messages of the context that the provider left out because they did not fit; absent for none. */
  omittedMessages?: number;
}

/** A piece of the answer, never empty. */
export interface TextEntry {
  type: 'text';
  text: string;
}

/**
 * A piece of the model's thinking: never empty, at most `LIMITS.thoughtUnits` UTF-16 units, and never part
 * of the answer. It belongs to the attempt in which it comes.
 */
export interface ThoughtEntry {
  type: 'thought';
  text: string;
}

/** The model called a tool, which now runs, or waits for a client. */
export interface ToolCallEntry {
  type: 'tool_call';
  /** No other call of the answer has it. */
  callId: string;
  /** As the model said it; there may be no such tool. */
  name: string;
  /** As the model said them: JSON, checked by nobody yet. */
  arguments: unknown;
  /** What a client has to send before the call goes on; absent for nothing. */
  awaits?: Awaits;
  /** Milliseconds that it waits; present with `awaits`. */
  timeoutMs?: number;
}

/** A call that waited for approval was approved, or refused. */
export interface ToolDecisionEntry {
  type: 'tool_decision';
  callId: string;
  name: string;
  approved: boolean;
}

/** A call has ended: with a result, as JSON, or with an error in plain words. */
export type ToolResultEntry = {
  type: 'tool_result';
  callId: string;
  name: string;
} & ({ result: unknown } | { error: string });

/** The answer is complete. */
export interface EndEntry {
  type: 'end';
  /** Source, provider and model of the last attempt. */
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

/** The answer broke off; the text so far stands. */
export interface ErrorEntry {
  type: 'error';
  code: ErrorCode;
  message: string;
  retryAfterMs?: number;
}

/**
 * What a response is made of: a start for each attempt, thoughts if they were asked for, text, calls of
 * tools and what came of them, and exactly one `end` or `error` as the last. A further attempt begins the
 * thoughts and the text again, not the tools: they have run.
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

/** What a process that went away has generated of an answer. Another process goes on from it. */
export interface ResumedAnswer {
  /** At least the number of the last attempt that it has shown. */
  attempt: number;
  rounds: readonly ToolRound[];
  /** What clients said, before this process went on, of calls that have neither a decision nor a result. */
  stored: ReadonlyMap<string, StoredReply>;
}

/** The calls of a turn, and what became of them. Only the last round may have a call without a result. */
export interface ToolRound {
  calls: readonly ToolCallEntry[];
  decisions: readonly ToolDecisionEntry[];
  results: readonly ToolResultEntry[];
}

/** The answer waits for a model: news of the moment, and no part of the response. */
export interface QueuedEntry {
  type: 'queued';
  /** Requests that have to be done before it is this one's turn; 0 when it is. */
  ahead: number;
}

/**
 * The model is being loaded into memory: news of the moment, until the next entry, and no part of the
 * response. When the model is loaded a `queued` with 0 comes.
 */
export interface LoadingEntry {
  type: 'loading';
  provider: string;
  model: string;
}

/** What holds until the next entry: the newest one replaces the one before. */
export type NewsEntry = QueuedEntry | LoadingEntry;

/** All that `generateResponseStream` yields; the log holds what is an `Entry`. */
export type StreamedEntry = Entry | NewsEntry;

/** Receives the entries of one answer as they are made. */
export interface EntrySink {
  /**
   * Takes an entry.
   *
   * @returns a promise if the sink is full: the next text is to be written once it resolves.
   */
  write(entry: StreamedEntry): Promise<void> | undefined;
  /** @returns the text since the newest `start` entry. */
  readText(): string;
}

export function isTerminal(entry: Entry): entry is EndEntry | ErrorEntry {
  return entry.type === 'end' || entry.type === 'error';
}
