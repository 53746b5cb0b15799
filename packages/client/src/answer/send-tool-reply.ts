import type { EVENT, StreamToolReplyRequest } from '@rivulet/protocol';
import type { Connection } from '../connection/connection.js';
import type { Failure } from './failure.js';

/** The server refuses longer results. */
const RESULT_UNITS = 131_072;

type Refusal = Failure & { retryAfterMs?: number | undefined };

/** The server's reply to a message that was sent before the answer ended comes within this time, or not at all. */
const LATE_REPLY_MS = 1_000;

/**
 * Replies to a tool call. `signal` is aborted when the answer is final. @returns the reason if the server refused the
 * reply, or gives none; otherwise undefined.
 */
export function sendToolReply(
  connection: Connection,
  event: typeof EVENT.toolReply,
  message: StreamToolReplyRequest,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  if (signal.aborted) return Promise.resolve(ENDED);
  if (JSON.stringify(message.result ?? null).length > RESULT_UNITS)
    return Promise.resolve(TOO_LARGE);
  return new Promise((resolve) => {
    const options = { once: true };
    signal.addEventListener('abort', () => setTimeout(resolve, LATE_REPLY_MS, ENDED), options);
    connection.sendReliably(event, message, (answer) => {
      if (answer.ok) return resolve(undefined);
      resolve({ ...answer.error, retryAfterMs: answer.error.retry_after_ms });
    });
  });
}

const ENDED: Failure = {
  code: 'conflict',
  message: 'unable to answer the call: the answer has ended',
};
const TOO_LARGE: Failure = {
  code: 'bad_request',
  message: `unable to answer the call: a result has at most ${RESULT_UNITS} UTF-16 units of JSON`,
};
