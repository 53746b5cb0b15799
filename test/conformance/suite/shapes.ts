import * as z from 'zod';

// The messages that a server may send. This suite has schemas of its own, because schemas that a server
// shares with its tests could be wrong in both.

const offset = z.int().nonnegative();
const id = z.string().min(1);
const about = { stream_id: id, session_id: z.string().min(1).exactOptional() };

/** Of people's words, and what to do about it. */
const failure = {
  code: z.string().regex(/^[a-z][a-z_]*$/),
  message: z.string().regex(/^unable to [^]+: [^]+/),
  retryable: z.boolean(),
  retry_after_ms: z.int().nonnegative().exactOptional(),
  request_id: id.exactOptional(),
};
export const wireError = z.strictObject(failure);
export type WireError = z.infer<typeof wireError>;

export const status = z.enum(['queued', 'loading', 'waiting', 'streaming', 'paused', 'ended']);

export const openReply = z.strictObject({
  ok: z.literal(true),
  stream_id: id,
  status,
  epoch: id.max(128),
  attempt: z.int().nonnegative(),
  reset: z.literal(true).exactOptional(),
  request_id: id.exactOptional(),
  continued_units: z.int().positive().exactOptional(),
  ref: z.int().exactOptional(),
});
export type OpenReply = z.infer<typeof openReply>;

export const doneReply = z.strictObject({ ok: z.literal(true) });
export const errorReply = z.strictObject({ ok: z.literal(false), error: wireError });

const summary = z.strictObject({
  ...about,
  query: z.string().max(256),
  status: status.exclude(['ended']),
  offset,
  code: failure.code.exactOptional(),
});
export type Summary = z.infer<typeof summary>;
export const listReply = z.strictObject({ ok: z.literal(true), streams: z.array(summary) });

const opened = z.strictObject({
  type: z.literal('stream_reply'),
  stream_id: id.exactOptional(),
  reply: z.union([openReply, errorReply]),
});
const hello = z.strictObject({
  type: z.literal('server_hello'),
  protocol: z.int().nonnegative(),
});
const closing = z.strictObject({
  type: z.literal('server_closing'),
  drain_ms: z.int().nonnegative(),
});

const queued = z.strictObject({
  type: z.literal('stream_queued'),
  ...about,
  ahead: z.int().nonnegative(),
});
const loading = z.strictObject({
  type: z.literal('stream_loading'),
  ...about,
  provider: z.string().min(1),
  model: z.string().min(1),
});
const accepted = z.strictObject({
  type: z.literal('stream_start'),
  ...about,
  offset,
  attempt: z.int().positive(),
});
const start = z.strictObject({
  type: z.literal('stream_start'),
  ...about,
  offset,
  attempt: z.int().positive(),
  source: z.enum(['model', 'cache']),
  provider: z.string().min(1),
  model: z.string().min(1),
  reason: z.string().min(1).exactOptional(),
  omitted_messages: z.int().positive().exactOptional(),
});
const chunk = z.strictObject({
  type: z.literal('stream_chunk'),
  ...about,
  offset,
  data: z.string().min(1),
});
const thought = z.strictObject({
  type: z.literal('stream_thought'),
  ...about,
  offset,
  data: z.string().min(1).max(4_096),
});
const tool = { type: z.literal('stream_tool'), ...about, offset, call_id: id, name: z.string() };
const toolCall = z.strictObject({
  ...tool,
  phase: z.literal('call'),
  arguments: z.unknown(),
  awaits: z.enum(['result', 'approval']).exactOptional(),
  timeout_ms: z.int().positive().exactOptional(),
});
const toolDecision = z.strictObject({
  ...tool,
  phase: z.literal('decision'),
  approved: z.boolean(),
});
const toolResult = z.union([
  z.strictObject({ ...tool, phase: z.literal('result'), result: z.unknown() }),
  z.strictObject({ ...tool, phase: z.literal('result'), error: z.string().min(1) }),
]);
const tokens = z.int().nonnegative().exactOptional();
const end = z.strictObject({
  type: z.literal('stream_end'),
  ...about,
  offset,
  complete: z.literal(true),
  total_length: z.int().nonnegative(),
  source: z.enum(['model', 'cache']),
  provider: z.string().min(1),
  model: z.string().min(1),
  finish_reason: z.enum(['stop', 'length', 'other']),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  usage: z.strictObject({ input_tokens: tokens, output_tokens: tokens }),
  timing: z.strictObject({
    load_ms: z.int().nonnegative().exactOptional(),
    first_chunk_ms: z.int().nonnegative().exactOptional(),
    total_ms: z.int().nonnegative(),
  }),
});
const incomplete = z.strictObject({
  type: z.literal('stream_end'),
  ...about,
  complete: z.literal(false),
  total_length: z.int().nonnegative(),
  code: failure.code,
});
const error = z.strictObject({ type: z.literal('stream_error'), ...about, offset, ...failure });
const refusal = z.strictObject({
  type: z.literal('stream_error'),
  offset: z.undefined().optional(),
  stream_id: z.string().exactOptional(),
  session_id: z.string().exactOptional(),
  ...failure,
});

export const shortChunk = z.tuple([z.int(), offset, z.string().min(1)]);

/** The message of each event, by the event's name. */
export const messages = {
  server_hello: hello,
  stream_reply: opened,
  server_closing: closing,
  stream_queued: queued,
  stream_loading: loading,
  stream_start: z.union([start, accepted]),
  stream_chunk: chunk,
  stream_thought: thought,
  stream_tool: z.union([toolCall, toolDecision, toolResult]),
  stream_end: z.union([end, incomplete]),
  stream_error: z.union([error, refusal]),
  stream_changed: z.strictObject({
    type: z.literal('stream_changed'),
    stream: summary.extend({ status }),
  }),
} as const;

/** A message of a stream's log; a chunk of either form is a `Chunk`. */
export type Start = z.infer<typeof start>;
export type Chunk = z.infer<typeof chunk>;
export type Tool =
  | z.infer<typeof toolCall>
  | z.infer<typeof toolDecision>
  | z.infer<typeof toolResult>;
export type Terminal = z.infer<typeof end> | z.infer<typeof error>;
export type Accepted = z.infer<typeof accepted>;
export type Thought = z.infer<typeof thought>;
export type Incomplete = z.infer<typeof incomplete>;
export type Logged = Start | Accepted | Chunk | Thought | Tool | Terminal;
export type Loading = z.infer<typeof loading>;
export type Queued = z.infer<typeof queued>;
export type Opened = z.infer<typeof opened>;
export type Hello = z.infer<typeof hello>;
export type Closing = z.infer<typeof closing>;
export type Refusal = z.infer<typeof refusal>;
