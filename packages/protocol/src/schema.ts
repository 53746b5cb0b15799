import * as z from 'zod';
import { LIMITS } from './limits.js';
import { EVENT } from './messages.js';
import type {
  ClientTool,
  ContextMessage,
  GenerateOptions,
  Intent,
  StreamAckRequest,
  StreamResumeRequest,
  StreamCancelRequest,
  StreamDetachRequest,
  StreamListRequest,
  StreamStartRequest,
  StreamToolReplyRequest,
} from './messages.js';

// The schemas drop fields that they do not name: a newer client may talk to an older server. Dropping
// also makes an own `__proto__` key harmless.

/**
 * No control characters, line separators or halves of surrogate pairs, which forge log lines, and no
 * format characters, which hide or reorder text, except the joiners of emoji and of Persian or Hindi
 * words. Characters that this version of Unicode does not know are allowed: they may be new emoji.
 */
const PRINTABLE = /^(?:[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|[\u200c\u200d])+$/u;
const id = z.string().max(LIMITS.idUnits).regex(PRINTABLE, { error: 'must be printable' });
const offset = z.int().nonnegative();
const window = z.int().positive().max(LIMITS.windowUnits);

/** A handshake whose `requests` are not parsed yet: a wrong one is no reason to refuse the others. */
export interface RawHandshake {
  protocol?: number;
  new_streams?: boolean;
  browser_id?: string | undefined;
  token?: string;
  requests?: unknown[];
}

export const handshakeSchema: z.ZodType<RawHandshake> = z.object({
  protocol: z.int().nonnegative().exactOptional(),
  new_streams: z.boolean().exactOptional(),
  // A connection without a valid id is a principal of its own.
  browser_id: z
    .string()
    .min(LIMITS.browserIdUnitsMin)
    .max(LIMITS.idUnits)
    .regex(PRINTABLE)
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

const contextMessage: z.ZodType<ContextMessage> = z.object({
  role: z.enum(['user', 'assistant']),
  content: z.string(),
});

const context = z
  .array(contextMessage)
  .max(LIMITS.contextMessages)
  .refine((turns) => turns.reduce((sum, t) => sum + t.content.length, 0) <= LIMITS.contextUnits, {
    error: `at most ${LIMITS.contextUnits} UTF-16 units in all`,
  });

/** Levels of objects and lists inside each other, in schemas and in the results of a client's tools. */
const JSON_LEVELS = 64;

/** Refuses JSON of too many levels first: `JSON.stringify` and the SDKs of providers are recursive. */
function limitJson(maxUnits: number): z.core.$ZodCheck<unknown> {
  return z.check(({ value, issues }) => {
    const refuse = (message: string): void =>
      void issues.push({ code: 'custom', message, input: value });
    if (!isWithinLevels(value)) refuse(`at most ${JSON_LEVELS} levels of JSON`);
    else if ((JSON.stringify(value) ?? '').length > maxUnits)
      refuse(`at most ${maxUnits} UTF-16 units of JSON`);
  });
}

/** @returns true if the value has at most `JSON_LEVELS` levels. */
function isWithinLevels(value: unknown): boolean {
  let level = [value];
  for (let depth = 0; depth <= JSON_LEVELS; depth++) {
    level = level.flatMap((each) =>
      typeof each === 'object' && each !== null ? (Object.values(each) as unknown[]) : [],
    );
    if (level.length === 0) return true;
  }
  return false;
}

const jsonObject = (maxUnits: number): z.ZodType<Record<string, unknown>> =>
  z.record(z.string(), z.unknown()).check(limitJson(maxUnits));

const clientTool: z.ZodType<ClientTool> = z.object({
  name: z
    .string()
    .max(LIMITS.toolNameUnits)
    .regex(/^[a-z_][\w-]*$/i),
  description: z.string().max(LIMITS.toolDescriptionUnits),
  parameters: jsonObject(LIMITS.toolSchemaUnits).refine(({ type }) => type === 'object', {
    error: 'must be the schema of an object',
  }),
});

const clientTools = z
  .array(clientTool)
  .max(LIMITS.clientTools)
  .refine((tools) => new Set(tools.map(({ name }) => name)).size === tools.length, {
    error: 'two tools have the same name',
  });

const options: z.ZodType<GenerateOptions> = z.object({
  temperature: z.number().min(0).max(2).exactOptional(),
  top_p: z.number().min(0).max(1).exactOptional(),
  top_k: z.int().positive().exactOptional(),
  max_tokens: z.int().positive().exactOptional(),
  stop: z.array(z.string().min(1).max(LIMITS.stopUnits)).max(LIMITS.stopSequences).exactOptional(),
  seed: z.int().nonnegative().max(2_147_483_647).exactOptional(),
  thoughts: z.boolean().exactOptional(),
  response_schema: jsonObject(LIMITS.responseSchemaUnits).exactOptional(),
  cache: z.enum(['default', 'reload', 'no-store']).exactOptional(),
});

export const startSchema: z.ZodType<StreamStartRequest> = z.object({
  type: z.literal(EVENT.start).exactOptional(),
  query: z
    .string()
    .max(LIMITS.queryUnits)
    .refine((query) => query.trim() !== '', { error: 'must not be blank' }),
  session_id: id.exactOptional(),
  stream_id: id.exactOptional(),
  reader_id: id.exactOptional(),
  intent: intent.exactOptional(),
  context: context.exactOptional(),
  omitted_messages: z.int().nonnegative().max(1_000_000).exactOptional(),
  continue_text: z.string().max(LIMITS.contextUnits).exactOptional(),
  client_tools: clientTools.exactOptional(),
  options: options.exactOptional(),
  window: window.exactOptional(),
});

export const resumeSchema: z.ZodType<StreamResumeRequest> = z.object({
  type: z.literal(EVENT.resume).exactOptional(),
  stream_id: id,
  reader_id: id.exactOptional(),
  offset,
  epoch: id.exactOptional(),
  attempt: z.int().nonnegative().exactOptional(),
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
  watch: z.boolean().exactOptional(),
});

export const toolReplySchema: z.ZodType<StreamToolReplyRequest> = z
  .object({
    type: z.literal(EVENT.toolReply).exactOptional(),
    stream_id: id,
    call_id: id,
    approved: z.boolean().exactOptional(),
    result: z.unknown().check(limitJson(LIMITS.toolResultUnits)).optional(),
    error: z.string().max(LIMITS.toolErrorUnits).exactOptional(),
  })
  .refine(
    (reply) =>
      [reply.approved, reply.result, reply.error].filter((answer) => answer !== undefined)
        .length === 1,
    { error: 'exactly one of `approved`, `result` and `error`' },
  );
