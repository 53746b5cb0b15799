import { StreamError } from '@rivulet/protocol';
import { INTERRUPTED } from '../answer/failure.js';
import { isFinal } from '../answer/snapshot.js';
import type { AnswerSnapshot } from '../types.js';
import {
  type AssistantRecord,
  snapshotOfStored,
  type StoredAnswer,
  type UserRecord,
} from './records.js';
import type { AssistantMessage, Ending, UserMessage } from './types.js';

/** The newest part of a running answer. `lastTextAt` is in milliseconds since 1970. */
export interface LivePart {
  readonly snapshot: AnswerSnapshot;
  readonly lastTextAt: number | undefined;
}

export function userMessage(
  { id, text, createdAt }: UserRecord,
  isQueued: boolean,
  version: number,
  versionCount: number,
): UserMessage {
  const status = isQueued ? 'queued' : 'sent';
  return Object.freeze({ id, role: 'user', text, createdAt, status, version, versionCount });
}

export function assistantMessage(
  { id, createdAt, parts: stored }: AssistantRecord,
  live: LivePart | undefined,
  version: number,
  versionCount: number,
): AssistantMessage {
  const newest = stored.at(-1);
  const answer = live?.snapshot ?? (newest ? snapshotOfStored(newest.answer) : undefined);
  if (answer === undefined) throw new Error(`unable to show the answer ${id}: it has no parts`);
  // A part without text, such as one that failed, is replaced by the next part.
  const earlier = stored
    .slice(0, -1)
    .filter((part) => part.answer.text !== '')
    .map((part) => snapshotOfStored(part.answer));
  const parts = Object.freeze([...earlier, answer]);
  // `join` would copy the text for each chunk; engines concatenate without a copy.
  const text = parts.reduce((joined, part) => joined + part.text, '');
  const ending = isFinal(answer) ? endingOf(answer, text) : undefined;
  return Object.freeze({
    id,
    role: 'assistant',
    text,
    createdAt,
    version,
    versionCount,
    answer,
    parts,
    ending,
    canContinue: ending !== undefined && text !== '' && mayContinue(ending, answer),
    lastTextAt: live ? live.lastTextAt : newest?.lastTextAt,
  });
}

/** @returns false if the server has already refused to continue an answer. */
function mayContinue(ending: Ending, { error }: AnswerSnapshot): boolean {
  return CONTINUABLE.has(ending) && error?.code !== 'unsupported';
}

const CONTINUABLE: ReadonlySet<Ending> = new Set([
  'stopped',
  'length',
  'interrupted',
  'failed',
  'other',
]);

/** @returns how a final answer ended. `text` is the text of all its parts. */
export function endingOf({ status, finishReason, error }: AnswerSnapshot, text: string): Ending {
  if (status === 'failed') {
    if (error?.code === 'interrupted') return 'interrupted';
    return error?.code === 'content_filter' ? 'filtered' : 'failed';
  }
  if (status !== 'done') return 'stopped';
  if (finishReason === 'length' || finishReason === 'other') return finishReason;
  return text === '' ? 'empty' : 'complete';
}

/**
 * Combines a resumed answer with `kept`, its state in the record of the chat. The kept text stays while the server
 * sends the text again, so that the text does not shrink. An answer that the server no longer has is `interrupted`.
 */
export function resumedAnswer(live: AnswerSnapshot, kept: StoredAnswer): AnswerSnapshot {
  const { text, thoughts, attempt, source, provider, model, tools } = kept;
  const isBehind =
    live.text.length < text.length && live.attempt <= attempt && text.startsWith(live.text);
  const answer =
    isBehind && live.status !== 'done'
      ? { ...live, attempt, source, provider, model, text, thoughts, tools }
      : live;
  const { error } = live;
  if (error?.code !== 'not_found') return Object.freeze(answer);
  const { code, message } = INTERRUPTED;
  const interrupted = new StreamError(code, message, { partialText: answer.text });
  return Object.freeze({ ...answer, status: 'failed', error: interrupted });
}

/** @returns the answer as `interrupted`, for one that is too old for any server to have. */
export function interruptedAnswer(answer: StoredAnswer): StoredAnswer {
  const { code, message } = INTERRUPTED;
  const error = { code, message, retryable: true, retryAfterMs: undefined };
  return { ...answer, status: 'failed', error };
}
