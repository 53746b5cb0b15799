import type { ErrorCode } from './errors.js';

/** Every event on the wire. PROTOCOL.md has a section for each. */
export const EVENT = {
  start: 'stream_start',
  resume: 'stream_resume',
  ack: 'stream_ack',
  cancel: 'stream_cancel',
  detach: 'stream_detach',
  list: 'stream_list',
  reply: 'stream_reply',
  closing: 'server_closing',
  queued: 'stream_queued',
  chunk: 'stream_chunk',
  shortChunk: 'c',
  tool: 'stream_tool',
  end: 'stream_end',
  error: 'stream_error',
} as const;

/** Why a text ended. `stop` is the only clean one: the model had said all. */
export type FinishReason = 'stop' | 'length' | 'other';

/** Where an answer came from: generated for this request, or the server's response cache. */
export type Source = 'model' | 'cache';

/** What the caller takes the question to be for; it goes into the prompt. */
export interface Intent {
  name: string;
  parameters?: Record<string, string | number | boolean>;
}

/** One earlier message of the conversation; `context` lists them oldest first. */
export interface ContextMessage {
  role: 'user' | 'assistant';
  content: string;
}

/** How to generate. Each stands in for what the operator configured; `max_tokens` only lowers it. */
export interface GenerateOptions {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  max_tokens?: number;
  cache?: 'default' | 'reload' | 'no-store';
}

/** Tokens as the provider counted them; a count it did not give is absent. */
export interface Usage {
  input_tokens?: number;
  output_tokens?: number;
}

/** Milliseconds from the arrival of the request, by the server's monotonic clock. */
export interface Timing {
  first_chunk_ms?: number;
  total_ms: number;
}

/** What went wrong, in the one shape that replies and `stream_error` share. */
export interface WireError {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
}

/** What a client says while it connects, in Socket.IO's `auth`. `requests` is carried out as if sent next. */
export interface Handshake {
  browser_id?: string;
  token?: string;
  requests?: (StreamStartRequest | StreamResumeRequest)[];
}

/** Asks a question, or attaches to the running stream if `stream_id` and body are known already. */
export interface StreamStartRequest {
  type?: typeof EVENT.start;
  query: string;
  session_id?: string;
  stream_id?: string;
  reader_id?: string;
  intent?: Intent;
  context?: ContextMessage[];
  options?: GenerateOptions;
  window?: number;
}

/** Reads a stream that exists from `offset` on. */
export interface StreamResumeRequest {
  type?: typeof EVENT.resume;
  stream_id: string;
  reader_id?: string;
  offset: number;
  window?: number;
}

/** The reader has everything below `offset`. */
export interface StreamAckRequest {
  type?: typeof EVENT.ack;
  stream_id: string;
  offset: number;
}

/** Ends the stream for all its readers. */
export interface StreamCancelRequest {
  type?: typeof EVENT.cancel;
  stream_id: string;
}

/** This reader has gone; the stream goes on for the others. */
export interface StreamDetachRequest {
  type?: typeof EVENT.detach;
  stream_id: string;
  reader_id?: string;
}

/** Asks which streams of this principal have not ended. */
export interface StreamListRequest {
  type?: typeof EVENT.list;
}

/** One stream that has not ended. `offset` is the end of its log so far. */
export interface StreamSummary {
  stream_id: string;
  session_id?: string;
  query: string;
  status: StreamStatus;
  offset: number;
}

/** `queued` for the model, `waiting` for the first text, `streaming`, or `ended`. */
export type StreamStatus = 'queued' | 'waiting' | 'streaming' | 'ended';

/** The stream is being read; `ref` names it in short chunks when a window was given. */
export interface StreamReply {
  ok: true;
  stream_id: string;
  status: StreamStatus;
  ref?: number;
}

/** The request was carried out. */
export interface DoneReply {
  ok: true;
}

/** The principal's streams that have not ended, oldest first. */
export interface StreamListReply {
  ok: true;
  streams: StreamSummary[];
}

/** The request was refused; nothing changed. */
export interface ErrorReply {
  ok: false;
  error: WireError;
}

/** The reply to one request of the handshake's `requests`, in their order. */
export interface StreamReplyMessage {
  type: typeof EVENT.reply;
  stream_id?: string;
  reply: StreamReply | ErrorReply;
}

/** The server takes no new streams, and ends within `drain_ms`. */
export interface ServerClosingMessage {
  type: typeof EVENT.closing;
  drain_ms: number;
}

/** The stream waits for a model. Not a part of the log, so it has no offset. */
export interface StreamQueuedMessage {
  type: typeof EVENT.queued;
  stream_id: string;
  session_id?: string;
  ahead: number;
}

/** An attempt begins: the text starts again from nothing. */
export interface StreamStartMessage {
  type: typeof EVENT.start;
  stream_id: string;
  session_id?: string;
  offset: number;
  attempt: number;
  source: Source;
  provider: string;
  model: string;
  reason?: string;
}

/** Text. */
export interface StreamChunkMessage {
  type: typeof EVENT.chunk;
  stream_id: string;
  session_id?: string;
  offset: number;
  data: string;
}

/** Text for a reader with a window: the `ref` of its stream, the offset, the text. */
export type ShortChunk = [ref: number, offset: number, data: string];

/** The model called a tool, which now runs at the server. */
export interface StreamToolCallMessage {
  type: typeof EVENT.tool;
  stream_id: string;
  session_id?: string;
  offset: number;
  phase: 'call';
  call_id: string;
  name: string;
  arguments: unknown;
}

/** A call has ended: `error` is there if it failed, else `result`. */
export interface StreamToolResultMessage {
  type: typeof EVENT.tool;
  stream_id: string;
  session_id?: string;
  offset: number;
  phase: 'result';
  call_id: string;
  name: string;
  result?: unknown;
  error?: string;
}

/** The answer is complete. */
export interface StreamEndMessage {
  type: typeof EVENT.end;
  stream_id: string;
  session_id?: string;
  offset: number;
  complete: true;
  total_length: number;
  finish_reason: FinishReason;
  digest: string;
  usage: Usage;
  timing: Timing;
}

/** The stream ended before the answer was complete, or was refused to a client that asked for no reply. */
export interface StreamErrorMessage extends WireError {
  type: typeof EVENT.error;
  stream_id?: string;
  session_id?: string;
  offset?: number;
}

/** All that a server sends about a stream by name; `ShortChunk` is the form without one. */
export type StreamMessage =
  | StreamQueuedMessage
  | StreamStartMessage
  | StreamChunkMessage
  | StreamToolCallMessage
  | StreamToolResultMessage
  | StreamEndMessage
  | StreamErrorMessage;
