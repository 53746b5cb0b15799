import { StreamError, type WireError } from '@rivulet/protocol';
import type { Phase } from './snapshot.js';
import type { AnswerTiming } from '../types.js';

/** Why an answer ends without being whole: what the server said, or what the client found. */
export type Failure = Omit<WireError, 'retryable'> & { retryable?: boolean; cause?: unknown };

export const CLIENT_CLOSED: Failure = {
  code: 'cancelled',
  message: 'unable to go on: the client was closed',
};
export const NOT_KEPT: Failure = {
  code: 'not_found',
  message: 'unable to answer: this browser has no answer',
};
export const INTERRUPTED: Failure = {
  code: 'interrupted',
  message: 'unable to finish the answer: the server that generated it is gone; ask again',
};
export const GARBLED: Failure = {
  code: 'internal',
  message: 'unable to finish the answer: its text did not arrive as sent; ask again',
};

/** Someone's cancelling is no error. */
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

/** An exception of this client, which is no fault of the question. */
export function internalFailure(cause: unknown): Failure {
  return { code: 'internal', message: 'unable to answer: the client failed', cause };
}
