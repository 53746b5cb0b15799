import { StreamError, type WireError } from '@rivulet/protocol';
import type { Logger } from '../observe/logger.js';
import { wireError } from './encode.js';

/** What a client hears of a request that could not be carried out; a fault of the server is logged. */
export function refusalOf(cause: unknown, logger: Logger): WireError {
  if (cause instanceof StreamError) return wireError(cause);
  logger.error({ event: 'SOCKET_MESSAGE_FAILED', err: cause });
  const message = 'unable to carry out the request: the server failed';
  return wireError(new StreamError('internal', message));
}
