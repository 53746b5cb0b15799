import { type ContextMessage, LIMITS } from '@rivulet/protocol';
import { byteLength } from '../byte-length.js';
import type { AnswerOptions, AnswerRequest } from '../types.js';
import { textOf, type UserRecord } from './records.js';
import type { VisibleMessage } from './tree.js';

/** Bytes reserved for field names, ids and options of a request. */
const RESERVED_BYTES = 65_536;

/**
 * @returns the request for `question`, or for continuing its answer from `continueText`. The context is the visible
 * branch before the question. `options` are those of the chat, then those of the action.
 */
export function requestFor(
  question: UserRecord,
  branch: readonly VisibleMessage[],
  options: readonly (AnswerOptions | undefined)[],
  continueText?: string,
): AnswerRequest {
  const { chatId, text: query, request } = question;
  const at = branch.findIndex(({ record }) => record.id === question.id);
  const earlier = branch
    .slice(0, at)
    .map(({ record }) => ({ role: record.role, content: textOf(record) }))
    .filter(({ content }) => content.trim() !== '');
  const [ofChat, ofAction] = options;
  return {
    ...(chatId.length <= LIMITS.idUnits && { sessionId: chatId }),
    ...request,
    query,
    ...fittingContext(earlier, [query, continueText ?? '']),
    options: { ...ofChat, ...request.options, ...ofAction },
    ...(continueText !== undefined && { continueText }),
  };
}

/**
 * @returns the newest messages that fit into a request beside `texts`. If a message does not fit, all older ones are
 * left out too, so that there is no gap.
 */
export function fittingContext(
  messages: readonly ContextMessage[],
  texts: readonly string[],
): Pick<AnswerRequest, 'context' | 'omittedMessages'> {
  let bytes = RESERVED_BYTES;
  for (const text of texts) bytes += byteLength(JSON.stringify(text));
  let units = 0;
  let count = 0;
  for (const message of messages.toReversed()) {
    units += message.content.length;
    bytes += byteLength(JSON.stringify(message));
    const fits = units <= LIMITS.contextUnits && bytes <= LIMITS.messageBytes;
    if (!fits || count === LIMITS.contextMessages) break;
    count += 1;
  }
  // Providers require that the context begins with a question.
  while (count > 0 && messages[messages.length - count]?.role !== 'user') count -= 1;
  const omittedMessages = messages.length - count;
  return { context: messages.slice(omittedMessages), omittedMessages };
}
