import { StreamError } from '@rivulet/protocol';
import * as z from 'zod';
import type { ErrorEntry } from '../entry.js';
import type { OnEnd, Prepare, PreparedRequest, StreamQuestion } from '../hooks.js';
import type { Logger } from '../observe/logger.js';
import { readableError } from '../readable-error.js';
import { HOOK_TIMEOUT_MS, HookTimeoutError } from './hook-timeout.js';

/** The hooks of the application. */
export interface StreamHooks {
  prepare: Prepare | undefined;
  onEnd: OnEnd | undefined;
  /** Receives the failures of the hooks. */
  logger: Logger;
}

// Copies the known fields, so that the application may change its objects afterwards. An unknown field is an
// error, because it may be misspelt.
const preparedSchema: z.ZodType<PreparedRequest> = z.strictObject({
  system: z.string().optional(),
  models: z.record(z.string(), z.string().min(1)).optional(),
  context: z
    .array(z.object({ role: z.enum(['user', 'assistant']), content: z.string() }))
    .optional(),
  tools: z.union([z.literal(false), z.array(z.string())]).optional(),
  clientTools: z.literal(false).optional(),
  clientContext: z.literal(false).optional(),
  options: z
    .strictObject({
      temperature: z.number().optional(),
      top_p: z.number().optional(),
      top_k: z.int().positive().optional(),
      max_tokens: z.int().positive().optional(),
      seed: z.int().optional(),
    })
    .optional(),
});

/**
 * Calls `prepare`.
 *
 * @throws {StreamError} the refusal of the hook; internal, if the hook failed.
 * @throws `signal.reason` when the signal aborts.
 */
export async function callPrepare(
  { prepare, logger }: StreamHooks,
  question: StreamQuestion,
  signal: AbortSignal,
): Promise<PreparedRequest> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const forward = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', forward);
  const timer = setTimeout(() => controller.abort(new HookTimeoutError()), HOOK_TIMEOUT_MS);
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error));
  });
  try {
    const called = (async () => prepare?.({ ...question, signal: controller.signal }))();
    return parsePrepared(await Promise.race([aborted, called]));
  } catch (thrown) {
    signal.throwIfAborted();
    const cause = readableError(thrown);
    if (cause instanceof StreamError) {
      logger.info({ event: 'LLM_STREAM_REFUSED', code: cause.code });
      throw cause;
    }
    const isLate = cause instanceof HookTimeoutError;
    logger.error({
      event: 'LLM_HOOK_FAILED',
      hook: 'prepare',
      reason: isLate ? 'timeout' : 'failed',
      ...(cause instanceof WrongResultError && { problems: cause.problems }),
      err: cause,
    });
    const message = 'unable to answer: the server failed to prepare the question; ask again';
    throw new StreamError('internal', message, { cause });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', forward);
    // Stops the work that the hook may still be doing.
    controller.abort();
  }
}

class WrongResultError extends TypeError {
  /** The invalid fields and their problems, without the values. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('the result of prepare is wrong');
    this.problems = problems;
  }
}

function parsePrepared(result: unknown): PreparedRequest {
  if (result === undefined || result === null) return {};
  const parsed = preparedSchema.safeParse(result);
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  throw new WrongResultError(
    issues.slice(0, 3).map(({ path, message }) => [...path, message].join(': ')),
  );
}

/** @returns the terminal entry of a stream that `prepare` refused. */
export function refusalEntry(cause: unknown): ErrorEntry {
  if (!(cause instanceof StreamError)) {
    return {
      type: 'error',
      code: 'internal',
      message: 'unable to answer: the server failed; ask again',
    };
  }
  const { code, message, retryAfterMs } = cause;
  return { type: 'error', code, message, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}
