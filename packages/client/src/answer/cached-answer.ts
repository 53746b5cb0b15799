import { NOTHING_RECEIVED, type ReceivedAnswer } from './receive.js';
import type { CachedAnswer } from '../cache/response-cache.js';

/** @returns undefined if the answer must not be cached: it is incomplete, or depends on more than its question. */
export function toCachedAnswer({
  attempt,
  terminal,
  text,
  tools,
}: ReceivedAnswer): CachedAnswer | undefined {
  if (attempt === undefined || terminal?.type !== 'end') return undefined;
  const { finishReason, usage } = terminal;
  // The results of a tool change over time, and its effects belong to this request.
  if (finishReason !== 'stop' || text === '' || tools.length > 0) return undefined;
  const { provider, model, omittedMessages } = attempt;
  const omitted = omittedMessages > 0 && { omittedMessages };
  return { text, provider, model, finishReason, usage, ...omitted, createdAt: Date.now() };
}

/** @returns the state that receiving the cached answer would lead to. */
export function fromCachedAnswer({
  text,
  provider,
  model,
  finishReason,
  usage,
  omittedMessages = 0,
}: CachedAnswer): ReceivedAnswer {
  const timing = { total_ms: 0 };
  return {
    ...NOTHING_RECEIVED,
    text,
    attempt: {
      attempt: 1,
      source: 'cache',
      provider,
      model,
      reason: undefined,
      omittedMessages,
    },
    terminal: { type: 'end', finishReason, totalLength: text.length, digest: '', usage, timing },
  };
}
