import type { ErrorCode } from './errors.js';

/** The newest version of the protocol in PROTOCOL.md, and the oldest that a server still speaks. */
export const PROTOCOL_VERSION = { newest: 1, oldest: 1 } as const;

/** Every event on the wire. PROTOCOL.md has a section for each, and marks what is not sent yet as draft. */
export const EVENT = {
  start: 'stream_start',
  resume: 'stream_resume',
  ack: 'stream_ack',
  cancel: 'stream_cancel',
  detach: 'stream_detach',
  list: 'stream_list',
  toolReply: 'stream_tool_reply',
  hello: 'server_hello',
  reply: 'stream_reply',
  closing: 'server_closing',
  queued: 'stream_queued',
  loading: 'stream_loading',
  chunk: 'stream_chunk',
  shortChunk: 'c',
  thought: 'stream_thought',
  tool: 'stream_tool',
  end: 'stream_end',
  error: 'stream_error',
  changed: 'stream_changed',
} as const;

/** The reason for which a text ended. Only `stop` means that the model has finished. */
export type FinishReason = 'stop' | 'length' | 'other';

/** The origin of an answer: generated for this request, or from the response cache of the server. */
export type Source = 'model' | 'cache';

/** The intent that the caller assigns to the question. It becomes a part of the prompt. */
export interface Intent {
  name: string;
  parameters?: Record<string, string | number | boolean> | undefined;
}

/** One earlier message of the conversation; `context` lists them oldest first. */
export interface ContextMessage {
  role: 'user' | 'assistant';
  content: string;
}

/** A tool that the client runs. `parameters` is a JSON Schema of an object. */
export interface ClientTool {
  name: string;
  description: string;
  parameters: Record<string, unknown>;
}

/** Options of one answer. Each replaces the operator's setting; `max_tokens` only lowers it. */
export interface GenerateOptions {
  temperature?: number | undefined;
  top_p?: number | undefined;
  top_k?: number | undefined;
  max_tokens?: number | undefined;
  stop?: string[] | undefined;
  seed?: number | undefined;
  thoughts?: boolean | undefined;
  response_schema?: Record<string, unknown> | undefined;
  cache?: 'default' | 'reload' | 'no-store' | undefined;
}

/** Tokens as the provider counted them; a count it did not give is absent. */
export interface Usage {
  input_tokens?: number;
  output_tokens?: number;
}

/** Milliseconds from the arrival of the request, by the server's monotonic clock. */
export interface Timing {
  load_ms?: number;
  first_chunk_ms?: number;
  total_ms: number;
}

/** An error in the shape that replies and `stream_error` share. */
export interface WireError {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
  request_id?: string;
}

/** The data of Socket.IO's `auth`, sent while a client connects. The server carries out `requests` first. */
export interface Handshake {
  protocol?: number;
  browser_id?: string;
  token?: string;
  new_streams?: boolean;
  requests?: (StreamStartRequest | StreamResumeRequest)[];
}

/** Asks a question, or reads the stream that this principal started with the same `stream_id` and body. */
export interface StreamStartRequest {
  type?: typeof EVENT.start;
  query: string;
  session_id?: string;
  stream_id?: string;
  reader_id?: string;
  intent?: Intent;
  context?: ContextMessage[];
  omitted_messages?: number;
  /** The answer continues this text. */
  continue_text?: string;
  client_tools?: ClientTool[];
  options?: GenerateOptions;
  window?: number;
}

/** Reads a stream that exists from `offset` on. */
export interface StreamResumeRequest {
  type?: typeof EVENT.resume;
  stream_id: string;
  reader_id?: string;
  offset: number;
  epoch?: string;
  attempt?: number;
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

/** This connection no longer reads the stream; the stream goes on for the others. */
export interface StreamDetachRequest {
  type?: typeof EVENT.detach;
  stream_id: string;
  reader_id?: string;
}

/** Asks which streams of this principal have not ended. */
export interface StreamListRequest {
  type?: typeof EVENT.list;
  watch?: boolean;
}

/** Answers a tool call that waits for the client. */
export interface StreamToolReplyRequest {
  type?: typeof EVENT.toolReply;
  stream_id: string;
  call_id: string;
  approved?: boolean;
  result?: unknown;
  error?: string;
}

/** One stream of a principal. `offset` is the end of its log so far. */
export interface StreamSummary {
  stream_id: string;
  session_id?: string;
  query: string;
  status: StreamStatus;
  offset: number;
  code?: ErrorCode;
}

/**
 * - `queued`: waits until the model is free
 * - `loading`: the model is being loaded
 * - `waiting`: for the first text
 * - `streaming`: text is coming
 * - `paused`: a tool call waits for a client
 * - `ended`: the log is complete
 */
export type StreamStatus = 'queued' | 'loading' | 'waiting' | 'streaming' | 'paused' | 'ended';

/** The stream is being read; `ref` names it in short chunks when a window was given. */
export interface StreamReply {
  ok: true;
  stream_id: string;
  status: StreamStatus;
  epoch: string;
  attempt: number;
  reset?: boolean;
  ref?: number;
  continued_units?: number;
  request_id?: string;
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

/** The server speaks `protocol` on this connection, an older version than the handshake's. */
export interface ServerHelloMessage {
  type: typeof EVENT.hello;
  protocol: number;
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

/** The model is being loaded. Not a part of the log, so it has no offset. */
export interface StreamLoadingMessage {
  type: typeof EVENT.loading;
  stream_id: string;
  session_id?: string;
  provider: string;
  model: string;
}

/** The question of a plain reader was accepted. */
export interface StreamAcceptedMessage {
  type: typeof EVENT.start;
  stream_id: string;
  session_id?: string;
  offset: number;
  attempt: number;
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
  omitted_messages?: number;
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

/** A piece of the model's thinking, never part of the answer. */
export interface StreamThoughtMessage {
  type: typeof EVENT.thought;
  stream_id: string;
  session_id?: string;
  offset: number;
  data: string;
}

/** The model called a tool, which now runs on the server unless `awaits` says otherwise. */
export interface StreamToolCallMessage {
  type: typeof EVENT.tool;
  stream_id: string;
  session_id?: string;
  offset: number;
  phase: 'call';
  call_id: string;
  name: string;
  arguments: unknown;
  awaits?: 'result' | 'approval';
  timeout_ms?: number;
}

/** A call that waited for approval was approved, or refused. */
export interface StreamToolDecisionMessage {
  type: typeof EVENT.tool;
  stream_id: string;
  session_id?: string;
  offset: number;
  phase: 'decision';
  call_id: string;
  name: string;
  approved: boolean;
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
  source: Source;
  provider: string;
  model: string;
  finish_reason: FinishReason;
  digest: string;
  usage: Usage;
  timing: Timing;
}

/** The stream of a plain reader has failed; comes after its `stream_error`. */
export interface StreamIncompleteMessage {
  type: typeof EVENT.end;
  stream_id: string;
  session_id?: string;
  complete: false;
  total_length: number;
  code: ErrorCode;
}

/** The stream ended before the answer was complete, or was refused to a client that asked for no reply. */
export interface StreamErrorMessage extends WireError {
  type: typeof EVENT.error;
  stream_id?: string;
  session_id?: string;
  offset?: number;
}

/** A stream of the principal was started, changed its status, or ended. */
export interface StreamChangedMessage {
  type: typeof EVENT.changed;
  stream: StreamSummary;
}

/** A named message about an entry of a log; `ShortChunk` is the form of text without a name. */
export type LogMessage =
  | StreamStartMessage
  | StreamChunkMessage
  | StreamThoughtMessage
  | StreamToolCallMessage
  | StreamToolDecisionMessage
  | StreamToolResultMessage
  | StreamEndMessage
  | StreamErrorMessage;
