import * as z from 'zod';
import { LIMITS } from './limits.js';
import { EVENT } from './messages.js';
import type {
  GenerateOptions,
  Intent,
  StreamAckRequest,
  StreamResumeRequest,
  StreamCancelRequest,
  StreamDetachRequest,
  StreamListRequest,
  StreamStartRequest,
  ContextMessage,
} from './messages.js';

// A field the schema does not name is dropped, never refused: a newer client may talk to an older
// server. Dropping is also what makes an own `__proto__` key harmless.

const id = z.string().min(1).max(LIMITS.idUnits);
const offset = z.int().nonnegative();
const window = z.int().positive().max(LIMITS.windowUnits);

/** Each request of `requests` is parsed for itself: a wrong one is no reason to refuse the others. */
export interface RawHandshake {
  browser_id?: string | undefined;
  token?: string;
  requests?: unknown[];
}

export const handshakeSchema: z.ZodType<RawHandshake> = z.object({
  // Without a proper one the connection is nobody's but its own.
  browser_id: z
    .string()
    .min(LIMITS.browserIdUnitsMin)
    .max(LIMITS.idUnits)
    .optional()
    .catch(undefined),
  token: z.string().max(LIMITS.tokenUnits).exactOptional(),
  requests: z.array(z.unknown()).max(LIMITS.handshakeRequests).exactOptional(),
});

const intent: z.ZodType<Intent> = z.object({
  name: z.string().min(1).max(LIMITS.idUnits),
  parameters: z
    .record(
      z.string().max(LIMITS.idUnits),
      z.union([z.string().max(LIMITS.intentValueUnits), z.number(), z.boolean()]),
    )
    .refine((values) => Object.keys(values).length <= LIMITS.intentParameters, {
      error: `at most ${LIMITS.intentParameters} parameters`,
    })
    .exactOptional(),
});

const turn: z.ZodType<ContextMessage> = z.object({
  role: z.enum(['user', 'assistant']),
  content: z.string(),
});

const context = z
  .array(turn)
  .max(LIMITS.contextMessages)
  .refine((turns) => turns.reduce((sum, t) => sum + t.content.length, 0) <= LIMITS.contextUnits, {
    error: `at most ${LIMITS.contextUnits} UTF-16 units in all`,
  });

const options: z.ZodType<GenerateOptions> = z.object({
  temperature: z.number().min(0).max(2).exactOptional(),
  top_p: z.number().min(0).max(1).exactOptional(),
  top_k: z.int().positive().exactOptional(),
  max_tokens: z.int().positive().exactOptional(),
  cache: z.enum(['default', 'reload', 'no-store']).exactOptional(),
});

export const startSchema: z.ZodType<StreamStartRequest> = z.object({
  type: z.literal(EVENT.start).exactOptional(),
  query: z
    .string()
    .max(LIMITS.queryUnits)
    .refine((query) => query.trim() !== '', { error: 'a question, not blank' }),
  session_id: id.exactOptional(),
  stream_id: id.exactOptional(),
  reader_id: id.exactOptional(),
  intent: intent.exactOptional(),
  context: context.exactOptional(),
  options: options.exactOptional(),
  window: window.exactOptional(),
});

export const resumeSchema: z.ZodType<StreamResumeRequest> = z.object({
  type: z.literal(EVENT.resume).exactOptional(),
  stream_id: id,
  reader_id: id.exactOptional(),
  offset,
  window: window.exactOptional(),
});

export const ackSchema: z.ZodType<StreamAckRequest> = z.object({
  type: z.literal(EVENT.ack).exactOptional(),
  stream_id: id,
  offset,
});

export const cancelSchema: z.ZodType<StreamCancelRequest> = z.object({
  type: z.literal(EVENT.cancel).exactOptional(),
  stream_id: id,
});

export const detachSchema: z.ZodType<StreamDetachRequest> = z.object({
  type: z.literal(EVENT.detach).exactOptional(),
  stream_id: id,
  reader_id: id.exactOptional(),
});

export const listSchema: z.ZodType<StreamListRequest> = z.object({
  type: z.literal(EVENT.list).exactOptional(),
});
