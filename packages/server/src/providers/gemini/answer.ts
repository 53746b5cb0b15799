import type { FinishReason, Usage } from '@rivulet/protocol';
import type { Part } from './contents.js';
import { providerError, truncated } from '../failure.js';
import type { Delta, ProviderError, RawMessage } from '../provider.js';
import { createSseReader } from '../sse.js';
import type { AnswerParser } from '../stream-answer.js';

/** A server-sent event of the stream. Any field may be absent, and any enum may have an unknown value. */
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

/** An error of Gemini, as a status or in the stream. */
export interface GeminiRefusal {
  status: number;
  words: string;
  details: unknown;
}

export interface AnswerOptions {
  model: string;
  /** True if the model may call tools. Only then are its parts kept. */
  hasTools: boolean;
  explain(refusal: GeminiRefusal): ProviderError;
}

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

/**
 * Parses the events of one answer. The answer finishes at the end of the stream, because usage may come last.
 */
export function createGeminiParser({ model, hasTools, explain }: AnswerOptions): AnswerParser {
  let deltas: Delta[] = [];
  let hasBegun = false;
  let finishReason: string | undefined;
  let usage: Usage = {};
  let version: string | undefined;
  const parts: Part[] = [];
  let hasCalled = false;

  function readPart(part: Part): void {
    const { text, thought, functionCall } = part;
    if (text) deltas.push({ type: thought === true ? 'thought' : 'text', text });
    if (functionCall) {
      hasCalled = true;
      deltas.push(toCall(functionCall));
    }
    if (hasTools) keep(parts, part);
  }

  const sse = createSseReader((data) => {
    if (data.trim() === '' || data === '[DONE]') return;
    const frame = parseFrame(data);
    hasBegun = true;
    throwIfRefused(frame, explain);
    const candidate = frame.candidates?.[0];
    finishReason = candidate?.finishReason ?? finishReason;
    usage = toUsage(frame) ?? usage;
    version = frame.modelVersion ?? version;
    for (const part of candidate?.content?.parts ?? []) readPart(part);
  });

  return {
    get hasBegun() {
      return hasBegun;
    },
    read(text, into) {
      deltas = into;
      sse.read(text);
    },
    end(into) {
      deltas = into;
      sse.end();
      if (finishReason === undefined) {
        throw truncated('gemini', 'its stream ended without a finish reason');
      }
      const raw: RawMessage | undefined = hasCalled
        ? { provider: 'gemini', model, parts }
        : undefined;
      deltas.push({
        type: 'finish',
        reason: toFinish(finishReason),
        usage,
        ...(version !== undefined && { model: version }),
        ...(raw && { raw }),
      });
    },
  };
}

function parseFrame(data: string): Frame {
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    // The message of JSON.parse quotes the answer, so the error is not kept as a cause.
  }
  if (typeof frame !== 'object' || frame === null) {
    throw truncated('gemini', 'a frame of its stream is not JSON');
  }
  return frame;
}

/**
 * Keeps the parts that the model needs in the next request after a tool call: signed parts, calls and text,
 * but not unsigned thoughts. Consecutive pieces of text are joined.
 */
function keep(parts: Part[], part: Part): void {
  const isPlainText = isUnsignedText(part);
  if (isPlainText && (part.thought === true || !part.text)) return;
  const last = parts.at(-1);
  if (isPlainText && last !== undefined && isUnsignedText(last)) {
    parts[parts.length - 1] = { text: `${last.text}${part.text}` };
  } else parts.push(part);
}

function isUnsignedText(part: Part): boolean {
  return Object.keys(part).every((key) => key === 'text' || key === 'thought');
}

function throwIfRefused(
  { error, promptFeedback, candidates }: Frame,
  explain: AnswerOptions['explain'],
): void {
  if (error) {
    const { code = 503, message = '', details } = error;
    throw explain({ status: code, words: message, details });
  }
  if (promptFeedback?.blockReason) throw blocked('prompt', promptFeedback.blockReason);
  const finishReason = candidates?.[0]?.finishReason;
  if (finishReason && BLOCKED.has(finishReason)) throw blocked('answer', finishReason);
}

function blocked(what: 'prompt' | 'answer', reason: string): ProviderError {
  const named = /^[A-Z_]{1,40}$/.test(reason) ? ` (${reason})` : '';
  return providerError('content_filter', `the safety rules of gemini refuse the ${what}${named}`);
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
