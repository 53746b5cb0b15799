import { type ContextMessage, LIMITS } from '@rivulet/protocol';
import { byteLength } from '../byte-length.js';
import type { AnswerOptions, AnswerRequest } from '../types.js';
import { textOf, type UserRecord } from './records.js';
import type { Visible } from './tree.js';

/** For the names of fields, the ids and the options of a request. */
const RESERVED_BYTES = 65_536;

/**
 * The request that asks `question`, or continues its answer, with what is before it on the visible branch.
 * `options` are those of the chat, then those of the action.
 */
export function requestFor(
  question: UserRecord,
  branch: readonly Visible[],
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
 * The newest messages that a request may carry beside `texts`. From the first message on that does not fit, all
 * older ones are left out, so that there is no gap.
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
  // Providers want a question first.
  while (count > 0 && messages[messages.length - count]?.role !== 'user') count -= 1;
  const omittedMessages = messages.length - count;
  return { context: messages.slice(omittedMessages), omittedMessages };
}
