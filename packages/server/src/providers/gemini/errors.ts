import type { GoogleGenerativeAIFetchError } from '@google/generative-ai';
import type { GeminiRefusal } from './answer.js';
import { detailOf, failureOf, refused, TooLongError } from '../failure.js';
import { type Prompt, ProviderError, type ProviderFailure } from '../provider.js';
import { quote, textsOf, withoutClientTexts } from '../quote.js';

/** The request asked for thoughts, and the model does not support them. */
export class NoThoughtsError extends ProviderError {}

export const GEMINI_ADVICE = 'Check the network, and GEMINI_BASE_URL if it is set';

/** Converts a refusal of Gemini to an error. */
export function explainRefusal(
  { status, words, details }: GeminiRefusal,
  { apiKey, prompt }: { apiKey: string; prompt: Prompt },
): ProviderError {
  const own = withoutClientTexts(words, prompt);
  const failure = failureOfRefusal(status, own, details);
  const refusal = {
    provider: 'gemini',
    failure,
    status,
    words: quote(words, textsOf(prompt), [apiKey]),
    ...adviceFor(failure, status),
    retryAfterMs: retryAfterMs(details),
  };
  if (status === 400 && isTooLong(words)) {
    return new TooLongError(detailOf(refusal), status, shareThatFits(words));
  }
  const error = refused(refusal);
  if (status !== 400 || !/thinking_?config|include_?thoughts|thinking is not/i.test(own)) {
    return error;
  }
  return new NoThoughtsError(failure, error.message, { detail: error.detail, status });
}

/**
 * Separates the message of the response from the text that the SDK adds before it, and from the details that
 * follow as JSON.
 */
export function readRefusal({
  message,
  status,
  statusText,
  errorDetails,
}: GoogleGenerativeAIFetchError): GeminiRefusal {
  const before = `[${status} ${statusText}] `;
  const after = errorDetails ? ` ${JSON.stringify(errorDetails)}` : '';
  const start = message.indexOf(before) + before.length;
  return {
    status: status ?? 0,
    words: message.slice(start, message.length - after.length),
    details: errorDetails,
  };
}

function failureOfRefusal(status: number, words: string, details: unknown): ProviderFailure {
  return status === 400 && isOperatorsFault(words, details) ? 'misconfigured' : failureOf(status);
}

/** Google also responds 400 to an unknown key and to a country that it does not serve. */
function isOperatorsFault(words: string, details: unknown): boolean {
  return (
    findDetail(details, 'ErrorInfo')?.['reason'] === 'API_KEY_INVALID' ||
    /API key not valid|location is not supported/i.test(words)
  );
}

function adviceFor(failure: ProviderFailure, status: number): { advice?: string } {
  if (failure !== 'misconfigured') return {};
  return { advice: status === 404 ? 'Check GEMINI_MODEL' : 'Check GEMINI_API_KEY' };
}

function isTooLong(words: string): boolean {
  return /input token count|exceeds the maximum number of (?:input )?tokens/i.test(words);
}

/** Parses "The input token count (3000) exceeds the maximum number of tokens allowed (1000)." */
function shareThatFits(words: string): number | undefined {
  const [count, allowed] = (words.match(/\d+/g) ?? []).map(Number);
  if (count === undefined || allowed === undefined) return undefined;
  return allowed < count ? allowed / count : undefined;
}

function retryAfterMs(details: unknown): number | undefined {
  const delay = findDetail(details, 'RetryInfo')?.['retryDelay'];
  const seconds = typeof delay === 'string' ? /^(\d+(?:\.\d+)?)s$/.exec(delay)?.[1] : undefined;
  return seconds === undefined ? undefined : Math.ceil(Number(seconds) * 1000);
}

function findDetail(details: unknown, type: string): Record<string, unknown> | undefined {
  if (!Array.isArray(details)) return undefined;
  return details.find((detail) => detail?.['@type'] === `type.googleapis.com/google.rpc.${type}`);
}
