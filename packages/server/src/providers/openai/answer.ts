import type { FinishReason, Usage } from '@rivulet/protocol';
import { providerError, truncated } from '../failure.js';
import { isSchema } from '../json-schema.js';
import { createThinkTags } from '../ollama/think-tags.js';
import type { Delta, ProviderError } from '../provider.js';
import { createSseReader } from '../sse.js';
import { MAX_FRAME_CHARACTERS, type AnswerParser } from '../stream-answer.js';
import type { RawTurn } from './request.js';

/** A frame as the wire has it: any field may be absent or null. */
interface Frame {
  model?: string;
  choices?: { delta?: FrameDelta | null; finish_reason?: string | null }[] | null;
  usage?: FrameUsage | null;
  /** The field in which Groq sends the usage. */
  x_groq?: { usage?: FrameUsage | null } | null;
  error?: unknown;
}

interface FrameDelta {
  content?: string | null;
  /** Of vLLM, LM Studio, LiteLLM, llama.cpp, DeepSeek. */
  reasoning_content?: string | null;
  /** Of Ollama, OpenRouter, Groq. */
  reasoning?: string | null;
  /** The model's own explanation of a refusal. */
  refusal?: string | null;
  tool_calls?: CallPiece[] | null;
}

interface CallPiece {
  index?: number | null;
  id?: string | null;
  function?: { name?: string | null; arguments?: unknown } | null;
  extra_content?: object | null;
}

interface FrameUsage {
  prompt_tokens?: number;
  completion_tokens?: number;
}

/** A call, of which some pieces have come. */
interface Call {
  index: number;
  id: string;
  name: string;
  arguments: string;
  extra: object | undefined;
}

export interface AnswerOptions {
  model: string;
  /** True if the model may call tools; its thoughts are kept only then. */
  hasTools: boolean;
  explain(error: unknown): ProviderError;
}

/** Calls of one turn. */
const MAX_CALLS = 1_000;
const REASONING_FIELDS = ['reasoning_content', 'reasoning'] as const;

/** Reads the frames of one answer. It finishes at `[DONE]` or at the end of the stream: usage comes last. */
export function createOpenAiParser({ model, hasTools, explain }: AnswerOptions): AnswerParser {
  const tags = createThinkTags();
  const calls: Call[] = [];
  const thoughts: Record<string, string> = {};
  let deltas: Delta[] = [];
  let hasBegun = false;
  let isDone = false;
  let isWorking = false;
  let heldCharacters = 0;
  let finishReason = '';
  let usage: Usage = {};
  let version = '';

  function readDelta(delta: FrameDelta): void {
    for (const field of REASONING_FIELDS) {
      const text = delta[field];
      if (!text) continue;
      deltas.push({ type: 'thought', text });
      if (hasTools) {
        hold(text);
        thoughts[field] = (thoughts[field] ?? '') + text;
      }
      // Some gateways send both.
      break;
    }
    if (delta.content) tags.read(delta.content, deltas);
    if (delta.refusal) tags.read(delta.refusal, deltas);
    if (delta.tool_calls) delta.tool_calls.forEach(readCall);
  }

  function readCall(piece: CallPiece, position: number): void {
    isWorking = true;
    const name = piece.function?.name ?? '';
    const call = callOf(piece, name, position);
    call.id ||= piece.id ?? '';
    // llama.cpp repeats the name in each piece.
    call.name ||= name;
    call.extra ??= piece.extra_content == null ? undefined : { extra_content: piece.extra_content };
    const args = piece.function?.arguments;
    const text = typeof args === 'string' ? args : args == null ? '' : JSON.stringify(args);
    hold(text);
    call.arguments += text;
  }

  /** Old servers give each of several calls the index 0, and an id of its own. */
  function callOf(piece: CallPiece, name: string, position: number): Call {
    const index = piece.index ?? position;
    const known = calls.findLast((call) => call.index === index);
    const isOther = piece.id && known?.id && piece.id !== known.id && name !== '';
    if (known !== undefined && !isOther) return known;
    if (calls.length >= MAX_CALLS) throw truncated('openai', 'it calls too many tools');
    const call: Call = { index, id: '', name: '', arguments: '', extra: undefined };
    calls.push(call);
    return call;
  }

  function hold(text: string): void {
    heldCharacters += text.length;
    if (heldCharacters > MAX_FRAME_CHARACTERS) throw truncated('openai', 'its calls are too long');
  }

  function finish(): void {
    if (finishReason === '') {
      throw truncated('openai', 'its stream ended without a finish reason');
    }
    tags.end(deltas);
    for (const call of calls) deltas.push(toCall(call));
    const turn: RawTurn = { thoughts, extras: calls.map(({ extra }) => extra) };
    const isKept =
      calls.length > 0 &&
      (Object.keys(thoughts).length > 0 || calls.some(({ extra }) => extra !== undefined));
    deltas.push({
      type: 'finish',
      reason: toReason(finishReason),
      usage,
      ...(version !== '' && { model: version }),
      ...(isKept && { raw: { provider: 'openai', model, parts: [turn] } }),
    });
  }

  const sse = createSseReader((data) => {
    if (isDone || data.trim() === '') return;
    if (data === '[DONE]') {
      isDone = true;
      return finish();
    }
    const frame = parseFrame(data);
    hasBegun = true;
    if (frame.error != null) throw explain(frame.error);
    version ||= frame.model ?? '';
    usage = toUsage(frame.usage ?? frame.x_groq?.usage) ?? usage;
    const choice = frame.choices?.[0];
    if (choice?.delta) readDelta(choice.delta);
    if (choice?.finish_reason) {
      finishReason = choice.finish_reason;
      throwIfFailed(finishReason);
    }
  });

  return {
    get hasBegun() {
      return hasBegun;
    },
    read(text, into) {
      deltas = into;
      isWorking = false;
      sse.read(text);
      if (isWorking && deltas.length === 0) deltas.push({ type: 'working' });
    },
    end(into) {
      deltas = into;
      sse.end();
      if (!isDone) finish();
    },
  };
}

function parseFrame(data: string): Frame {
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    // The error of JSON.parse quotes the answer, so it is not kept as a cause.
  }
  if (!isSchema(frame)) throw truncated('openai', 'a frame of its stream is not a JSON object');
  return frame;
}

/** `error` is OpenRouter's, `abort` vLLM's. */
function throwIfFailed(reason: string): void {
  if (reason === 'content_filter') {
    throw providerError('content_filter', 'the safety rules of openai refuse the answer');
  }
  if (reason === 'error' || reason === 'abort') {
    throw providerError('unavailable', `openai ended its answer with the reason "${reason}"`);
  }
}

function toCall({ id, name, arguments: text }: Call): Delta {
  return {
    type: 'tool_call',
    ...(id !== '' && { providerId: id }),
    name,
    arguments: parseArguments(text),
  };
}

/** @returns the text itself if it is not JSON: the tool loop tells the model what is wrong. */
function parseArguments(text: string): unknown {
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function toReason(reason: string): FinishReason {
  switch (reason) {
    case 'stop':
    case 'tool_calls':
    case 'function_call':
      return 'stop';
    case 'length':
      return 'length';
    default:
      return 'other';
  }
}

function toUsage(counts: FrameUsage | null | undefined): Usage | undefined {
  if (counts == null) return undefined;
  const { prompt_tokens: input, completion_tokens: output } = counts;
  return {
    ...(typeof input === 'number' && { input_tokens: input }),
    ...(typeof output === 'number' && { output_tokens: output }),
  };
}
