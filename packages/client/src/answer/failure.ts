import { StreamError, type WireError } from '@rivulet/protocol';
import type { Phase } from './snapshot.js';
import type { AnswerTiming } from '../types.js';

/** The reason why an answer did not complete, from the server or from this client. */
export type Failure = Omit<WireError, 'retryable'> & { retryable?: boolean; cause?: unknown };

export const CLIENT_CLOSED: Failure = {
  code: 'cancelled',
  message: 'unable to finish the answer: the client was closed',
};
export const NOT_CACHED: Failure = {
  code: 'not_found',
  message: 'unable to answer: no answer is cached; ask without `only-if-cached`',
};
export const INTERRUPTED: Failure = {
  code: 'interrupted',
  message: 'unable to finish the answer: its server is gone; ask again',
};
export const CORRUPTED: Failure = {
  code: 'internal',
  message: 'unable to finish the answer: its text was corrupted; ask again',
};

/** A cancelled answer is not an error. `now` is in milliseconds since 1970. */
export function phaseOfFailure(
  { code, message, retryable, retry_after_ms: retryAfterMs, cause }: Failure,
  partialText: string,
  timing: AnswerTiming,
  now: number = Date.now(),
): Phase {
  if (code === 'cancelled') return { status: 'cancelled', timing };
  const error = new StreamError(code, message, { retryAfterMs, partialText, cause, retryable });
  const retryAt = retryAfterMs === undefined ? undefined : now + retryAfterMs;
  return { status: 'failed', timing, error, retryAt };
}

/** The failure for an unexpected exception in this client. */
export function internalFailure(cause: unknown): Failure {
  return { code: 'internal', message: 'unable to answer: the client failed; ask again', cause };
}
