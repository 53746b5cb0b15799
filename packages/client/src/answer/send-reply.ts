import { type EVENT, StreamError, type StreamToolReplyRequest } from '@rivulet/protocol';
import type { Connection } from '../connection/link.js';
import type { Failure } from './failure.js';

/** A server takes no longer ones. */
const RESULT_UNITS = 131_072;

/** Answers a call that waits. @throws {StreamError} by its promise, if the server did not take it. */
export function sendReply(
  connection: Connection,
  event: typeof EVENT.toolReply,
  message: StreamToolReplyRequest,
  isFinal: boolean,
): Promise<void> {
  if (isFinal) return Promise.reject(errorOf(ENDED));
  if (JSON.stringify(message.result ?? null).length > RESULT_UNITS)
    return Promise.reject(errorOf(TOO_LARGE));
  return new Promise((resolve, reject) => {
    connection.tell(event, message, (answer) => {
      if (answer.ok) resolve();
      else reject(errorOf(answer.error));
    });
  });
}

function errorOf({ code, message, retryable, retry_after_ms: retryAfterMs }: Failure): StreamError {
  return new StreamError(code, message, { retryable, retryAfterMs });
}

const ENDED: Failure = {
  code: 'conflict',
  message: 'unable to answer the call: the answer has ended',
};
const TOO_LARGE: Failure = {
  code: 'bad_request',
  message: `unable to answer the call: a result has at most ${RESULT_UNITS} UTF-16 units of JSON`,
};
