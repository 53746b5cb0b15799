import { LIMITS, StreamError } from '@rivulet/protocol';
import type { QuestionRequest } from './records.js';

const TITLE_UNITS = 80;

/** @throws {StreamError} bad_request if the text is blank or too long. */
export function validateText(text: string): void {
  if (typeof text !== 'string' || text.trim() === '') {
    throw new StreamError('bad_request', 'unable to ask: the question must not be blank');
  }
  if (text.length <= LIMITS.queryUnits) return;
  throw new StreamError(
    'bad_request',
    `unable to ask: a question has at most ${LIMITS.queryUnits} UTF-16 units; shorten it`,
  );
}

/** @returns a copy that can be stored: without proxies of a framework and without the `AbortSignal`. */
export function toStorable({ intent, sessionId, options }: QuestionRequest): QuestionRequest {
  const { signal: _, ...rest } = options ?? {};
  return JSON.parse(JSON.stringify({ intent, sessionId, options: rest })) as QuestionRequest;
}

/** @returns the first line of a question, shortened without half of a surrogate pair. */
export function titleOf(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? '';
  return line
    .slice(0, TITLE_UNITS)
    .replace(/[\uD800-\uDBFF]$/, '')
    .trim();
}
