import { StreamError } from '@rivulet/protocol';

const RETRY_MS = 2_000;

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
