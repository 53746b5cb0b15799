import { addAbortListener } from 'node:events';

import {
  GoogleGenerativeAI,
  GoogleGenerativeAIFetchError,
  type GenerateContentRequest,
  type GenerativeModel,
} from '@google/generative-ai';
import type { FinishReason, Usage } from '@rivulet/protocol';

import type { Part } from './contents.js';
import { toRequest } from './request.js';
import {
  ProviderError,
  type Delta,
  type Prompt,
  type Provider,
  type ProviderFailure,
} from '../provider.js';
import { quote, textsOf } from '../quote.js';

export interface GeminiOptions {
  apiKey: string;
  model: string;
  /** Of another server that speaks Gemini's wire; Google's own when absent. */
  baseUrl?: string | undefined;
}

/** A frame as the wire has it: any field may be absent, and any enum hold a value of next year. */
interface Frame {
  candidates?: { content?: { parts?: Part[] }; finishReason?: string }[];
  promptFeedback?: { blockReason?: string };
  usageMetadata?: {
    promptTokenCount?: number;
    candidatesTokenCount?: number;
    thoughtsTokenCount?: number;
  };
  modelVersion?: string;
  error?: { code?: number; message?: string; details?: unknown };
}

interface Refusal {
  status: number;
  words: string;
  details: unknown;
}

type Explain = (refusal: Refusal) => ProviderError;

const BLOCKED: ReadonlySet<string> = new Set([
  'SAFETY',
  'RECITATION',
  'LANGUAGE',
  'PROHIBITED_CONTENT',
  'BLOCKLIST',
  'SPII',
  'IMAGE_SAFETY',
  'IMAGE_PROHIBITED_CONTENT',
  'IMAGE_RECITATION',
]);

/** Google's models, on the SDK that the project was asked to use. */
export function gemini(options: GeminiOptions): Provider {
  const baseUrl = options.baseUrl?.replace(/\/+$/, '');
  const model = new GoogleGenerativeAI(options.apiKey).getGenerativeModel(
    { model: options.model },
    baseUrl ? { baseUrl } : {},
  );
  return {
    name: 'gemini',
    model: options.model,
    stream: (prompt, signal) => streamAnswer(model, options, prompt, signal),
  };
}

async function* streamAnswer(
  model: GenerativeModel,
  options: GeminiOptions,
  prompt: Prompt,
  signal: AbortSignal,
): AsyncGenerator<Delta> {
  // The SDK sends the request even when the signal has aborted already.
  signal.throwIfAborted();
  const upstream = new AbortController();
  const link = addAbortListener(signal, () => upstream.abort());
  const explain: Explain = (refusal) => refused(refusal, options, prompt);
  try {
    const request = toRequest(prompt, options.model);
    const frames = await ask(model, request, upstream.signal, explain);
    for await (const delta of readFrames(frames, options.model, explain)) {
      signal.throwIfAborted();
      yield delta;
    }
  } catch (error) {
    // By the signal and not by the error's class: the SDK has three classes for an abort.
    signal.throwIfAborted();
    throw error;
  } finally {
    link[Symbol.dispose]();
    upstream.abort();
  }
}

async function ask(
  model: GenerativeModel,
  request: GenerateContentRequest,
  signal: AbortSignal,
  explain: Explain,
): Promise<AsyncIterable<Frame>> {
  try {
    const { stream, response } = await model.generateContentStream(request, { signal });
    // It rejects together with the stream, and unhandled that would end the process.
    response.catch(() => undefined);
    return stream;
  } catch (error) {
    if (error instanceof GoogleGenerativeAIFetchError) throw explain(toRefusal(error));
    throw new ProviderError(
      'unavailable',
      'unable to reach gemini: the request failed. Check the network, and GEMINI_BASE_URL if it is set',
    );
  }
}

async function* readFrames(
  frames: AsyncIterable<Frame>,
  model: string,
  explain: Explain,
): AsyncGenerator<Delta> {
  // From the frames, and not from the SDK's own sum of them, which loses calls and signatures.
  const parts: Part[] = [];
  let begun = false;
  let finishReason: string | undefined;
  let usage: Usage = {};
  let version: string | undefined;
  try {
    for await (const frame of frames) {
      begun = true;
      throwIfRefused(frame, explain);
      finishReason = frame.candidates?.[0]?.finishReason ?? finishReason;
      usage = toUsage(frame) ?? usage;
      version = frame.modelVersion ?? version;
      parts.push(...partsOf(frame));
      // By hand: `yield*` makes promises of what is there, three for each piece.
      for (const delta of toDeltas(frame)) yield delta;
    }
  } catch (error) {
    // The SDK's own errors quote what they could not read, so they are not kept as a cause.
    throw error instanceof ProviderError ? error : broken(begun);
  }
  if (finishReason === undefined) throw truncated();
  const raw = parts.some(({ functionCall }) => functionCall) && {
    raw: { provider: 'gemini', model, parts },
  };
  const answeredBy = version !== undefined && { model: version };
  yield { type: 'finish', reason: toFinish(finishReason), usage, ...answeredBy, ...raw };
}

function throwIfRefused(frame: Frame, explain: Explain): void {
  if (frame.error) {
    const { code = 503, message = '', details } = frame.error;
    throw explain({ status: code, words: message, details });
  }
  if (frame.promptFeedback?.blockReason) throw blocked('prompt', frame.promptFeedback.blockReason);
  const finishReason = frame.candidates?.[0]?.finishReason;
  if (finishReason && BLOCKED.has(finishReason)) throw blocked('answer', finishReason);
}

function* toDeltas(frame: Frame): Generator<Delta> {
  for (const { text, thought, functionCall } of partsOf(frame)) {
    if (text) yield { type: thought === true ? 'thought' : 'text', text };
    if (functionCall) yield toCall(functionCall);
  }
}

function partsOf({ candidates }: Frame): Part[] {
  return candidates?.[0]?.content?.parts ?? [];
}

function toCall({ id, name = '', args = {} }: NonNullable<Part['functionCall']>): Delta {
  return { type: 'tool_call', ...(id && { providerId: id }), name, arguments: args };
}

function toUsage({ usageMetadata }: Frame): Usage | undefined {
  if (!usageMetadata) return undefined;
  const { promptTokenCount, candidatesTokenCount, thoughtsTokenCount } = usageMetadata;
  const counted = candidatesTokenCount ?? thoughtsTokenCount;
  return {
    ...(promptTokenCount !== undefined && { input_tokens: promptTokenCount }),
    ...(counted !== undefined && {
      output_tokens: (candidatesTokenCount ?? 0) + (thoughtsTokenCount ?? 0),
    }),
  };
}

function toFinish(finishReason: string): FinishReason {
  if (finishReason === 'STOP') return 'stop';
  return finishReason === 'MAX_TOKENS' ? 'length' : 'other';
}

function broken(begun: boolean): ProviderError {
  if (begun) return truncated();
  return new ProviderError(
    'unavailable',
    'unable to read the answer of gemini: nothing of its protocol came',
  );
}

function truncated(): ProviderError {
  return new ProviderError('truncated', 'unable to finish the answer: gemini broke it off');
}

function blocked(what: 'prompt' | 'answer', reason: string): ProviderError {
  const named = /^[A-Z_]{1,40}$/.test(reason) ? ` (${reason})` : '';
  return new ProviderError(
    'content_filter',
    `unable to answer: the safety rules of gemini refuse the ${what}${named}`,
  );
}

function refused(refusal: Refusal, options: GeminiOptions, prompt: Prompt): ProviderError {
  const failure = toFailure(refusal);
  const words = quote(refusal.words, [options.apiKey, ...textsOf(prompt)]);
  return new ProviderError(
    failure,
    `unable to get an answer from ${options.model}: HTTP ${refusal.status}${words && `, ${words}`}${advice(failure, refusal.status)}`,
    { retryAfterMs: retryAfterMs(refusal.details), status: refusal.status },
  );
}

function toFailure({ status, words, details }: Refusal): ProviderFailure {
  switch (status) {
    case 400:
      return isOperatorsFault(words, details) ? 'misconfigured' : 'bad_request';
    case 413:
    case 422:
      return 'bad_request';
    case 401:
    case 403:
    case 404:
      return 'misconfigured';
    case 429:
      return 'busy';
    default:
      return 'unavailable';
  }
}

/** Google answers 400 also to a key that it does not know and to a country that it does not serve. */
function isOperatorsFault(words: string, details: unknown): boolean {
  return (
    findDetail(details, 'ErrorInfo')?.['reason'] === 'API_KEY_INVALID' ||
    /API key not valid|location is not supported/i.test(words)
  );
}

function advice(failure: ProviderFailure, status: number): string {
  if (failure !== 'misconfigured') return '';
  return status === 404 ? '. Check GEMINI_MODEL' : '. Check GEMINI_API_KEY';
}

/** The SDK puts its own words before upstream's, and the details as JSON after them. */
function toRefusal({
  message,
  status,
  statusText,
  errorDetails,
}: GoogleGenerativeAIFetchError): Refusal {
  const before = `[${status} ${statusText}] `;
  const after = errorDetails ? ` ${JSON.stringify(errorDetails)}` : '';
  const start = message.indexOf(before) + before.length;
  return {
    status: status ?? 0,
    words: message.slice(start, message.length - after.length),
    details: errorDetails,
  };
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
