import type { EVENT, StreamError } from '@rivulet/protocol';
import type { Connection } from '../connection/connection.js';
import type { ToolReply } from '../types.js';

/** The server refuses longer results. */
const RESULT_UNITS = 131_072;

/** The server's reply to a message that was sent before the answer ended comes within this time, or not at all. */
const LATE_REPLY_MS = 1_000;

/** The arguments of the error, which the caller creates: an import here would split the bundle of the client. */
type Failure = ConstructorParameters<typeof StreamError>;

/**
 * Replies to a tool call. `signal` is aborted when the answer is final. @returns the reason if the server refused the
 * reply, or gives none; otherwise undefined.
 */
export async function sendToolReply(
  connection: Connection,
  event: typeof EVENT.toolReply,
  streamId: string,
  callId: string,
  reply: ToolReply,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  if (signal.aborted) return ENDED;
  const message = { stream_id: streamId, call_id: callId, ...reply };
  if ('result' in reply && JSON.stringify(reply.result ?? null).length > RESULT_UNITS)
    return TOO_LARGE;
  return new Promise((resolve) => {
    const onFinal = (): void => void setTimeout(resolve, LATE_REPLY_MS, ENDED);
    signal.addEventListener('abort', onFinal);
    connection.sendReliably(event, message, (answer) => {
      signal.removeEventListener('abort', onFinal);
      if (answer.ok) return resolve(undefined);
      const { code, message: text, retryable, retry_after_ms: retryAfterMs } = answer.error;
      resolve([code, text, { retryable, retryAfterMs }]);
    });
  });
}

const ENDED: Failure = ['conflict', 'unable to answer the call: the answer has ended'];
const TOO_LARGE: Failure = [
  'bad_request',
  `unable to answer the call: a result has at most ${RESULT_UNITS} UTF-16 units of JSON`,
];
