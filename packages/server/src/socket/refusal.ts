import { StreamError, type WireError } from '@rivulet/protocol';
import type { Logger } from '../observe/logger.js';
import { wireError } from './encode.js';

const RETRY_MS = 2_000;

/** What a client hears of a request that could not be carried out; a fault of the server is logged. */
export function refusalOf(cause: unknown, logger: Logger): WireError {
  if (cause instanceof StreamError) return wireError(cause);
  logger.error({ event: 'SOCKET_MESSAGE_FAILED', err: cause });
  const message = 'unable to carry out the request: the server failed';
  return wireError(new StreamError('internal', message));
}

export function overloaded(reason: string): StreamError {
  return new StreamError('overloaded', `unable to connect: ${reason}`, { retryAfterMs: RETRY_MS });
}

export function rateLimited(reason: string, retryAfterMs: number = RETRY_MS): StreamError {
  const options = { retryAfterMs: Math.ceil(retryAfterMs) };
  return new StreamError('rate_limited', `unable to keep the connection: ${reason}`, options);
}

export function badRequest(reason: string): StreamError {
  return new StreamError('bad_request', `unable to connect: ${reason}`);
}
