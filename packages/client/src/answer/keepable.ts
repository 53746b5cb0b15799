import { NOTHING, type Received } from './receive.js';
import type { CachedAnswer } from '../cache/response-cache.js';

/** What may be kept of an answer that is whole: only a clean one that depends on its question alone. */
export function keepable({ attempt, terminal, text, tools }: Received): CachedAnswer | undefined {
  if (attempt === undefined || terminal?.type !== 'end') return undefined;
  const { finishReason, usage } = terminal;
  // What a tool found may be another thing tomorrow, and what it did was done for this request.
  if (finishReason !== 'stop' || text === '' || tools.length > 0) return undefined;
  const { provider, model, omittedMessages } = attempt;
  const omitted = omittedMessages > 0 && { omittedMessages };
  return { text, provider, model, finishReason, usage, ...omitted, createdAt: Date.now() };
}

/** A kept answer as if it had been received. */
export function receivedOf({
  text,
  provider,
  model,
  finishReason,
  usage,
  omittedMessages = 0,
}: CachedAnswer): Received {
  const timing = { total_ms: 0 };
  return {
    ...NOTHING,
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
