import { addAbortListener } from 'node:events';

import type { FinishReason, Usage } from '@rivulet/protocol';
import { Ollama, type ChatResponse, type ToolCall } from 'ollama';

import { onlyJsonLines } from './json-lines.js';
import {
  type AnswerRequest,
  broken,
  isJson,
  NoToolsError,
  notOllama,
  refusedAnswer,
  refusedList,
  truncated,
  unreachable,
} from './errors.js';
import { toMessages, toTools } from './messages.js';
import {
  ProviderError,
  type Delta,
  type Prompt,
  type Provider,
  type RawMessage,
} from '../provider.js';

export interface OllamaOptions {
  /** As `OLLAMA_HOST` has it: a URL, or a host with or without port. */
  host: string;
  model: string;
}

/**
 * The end of the body comes right after the last line. To abort before it was read would cost the
 * connection, which the next request is to use again.
 */
const DRAIN_MS = 100;

/** A model that runs on a machine of the operator. One that cannot call tools is offered none. */
export function ollama({ host, model }: OllamaOptions): Provider {
  let callsTools = true;
  return {
    name: 'ollama',
    model,
    async *stream(prompt, signal) {
      try {
        yield* streamAnswer(host, toRequest(model, prompt, callsTools), signal);
      } catch (error) {
        if (!(error instanceof NoToolsError)) throw error;
        callsTools = false;
        yield* streamAnswer(host, toRequest(model, prompt, callsTools), signal);
      }
    },
  };
}

/**
 * The names of the models that are installed, as `OLLAMA_MODEL` takes them. Throws a
 * `ProviderError` ('unavailable') when no Ollama answers, and `signal.reason` when it aborts.
 */
export async function ollamaModels(host: string, signal: AbortSignal): Promise<string[]> {
  signal.throwIfAborted();
  try {
    const { models } = await connect(host, signal, refusedList).list();
    return models.map(({ name }) => name);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof ProviderError ? error : notOllama();
  }
}

async function* streamAnswer(
  host: string,
  request: AnswerRequest,
  signal: AbortSignal,
): AsyncGenerator<Delta> {
  signal.throwIfAborted();
  const upstream = new AbortController();
  const link = addAbortListener(signal, () => upstream.abort());
  const body = ending();
  let begun = false;
  let finished = false;
  let thinking = '';
  let called = false;
  try {
    const refuse: Refuse = (response) => refusedAnswer(response, request);
    const read = (response: Response): Response => onlyJsonLines(response, body.end);
    const client = connect(host, upstream.signal, refuse, read);
    for await (const line of await client.chat(request)) {
      begun = true;
      thinking += line.message.thinking ?? '';
      called ||= line.message.tool_calls !== undefined;
      const raw = { provider: 'ollama', model: request.model, parts: [thinking] };
      for (const delta of toDeltas(line, called && thinking !== '' ? raw : undefined)) {
        signal.throwIfAborted();
        finished = delta.type === 'finish';
        yield delta;
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof ProviderError ? error : broken(error, begun, request);
  } finally {
    if (finished) await body.ended(DRAIN_MS);
    link[Symbol.dispose]();
    upstream.abort();
  }
}

/** Something that ends; `ended` waits for that, but not for longer than it is told. */
function ending(): { end(): void; ended(withinMs: number): Promise<void> } {
  let end = (): void => {};
  const hasEnded = new Promise<void>((resolve) => (end = resolve));
  return {
    end,
    async ended(withinMs) {
      const timer = setTimeout(end, withinMs);
      await hasEnded;
      clearTimeout(timer);
    },
  };
}

function toRequest(model: string, prompt: Prompt, callsTools: boolean): AnswerRequest {
  const { tools = [], toolChoice } = prompt;
  return {
    model,
    stream: true,
    ...(prompt.thoughts && { think: true }),
    messages: toMessages(prompt),
    ...(callsTools && toolChoice !== 'none' && tools.length > 0 && { tools: toTools(tools) }),
    options: {
      ...(prompt.temperature !== undefined && { temperature: prompt.temperature }),
      ...(prompt.topP !== undefined && { top_p: prompt.topP }),
      ...(prompt.topK !== undefined && { top_k: prompt.topK }),
      ...(prompt.maxTokens !== undefined && { num_predict: prompt.maxTokens }),
    },
  };
}

type Refuse = (response: Response) => Promise<ProviderError>;

/**
 * A client for one request. Its own `abort` works only after the headers and a `break` leaves its
 * socket open, so the signal goes into fetch. Refusals are read here because the client writes
 * what it does not understand to the console.
 */
function connect(
  host: string,
  signal: AbortSignal,
  refuse: Refuse,
  read: (response: Response) => Response = (response) => response,
): Ollama {
  return new Ollama({
    host,
    fetch: async (url, init) => {
      const response = await fetch(url, { ...init, signal }).catch((error: unknown) => {
        throw unreachable(error);
      });
      if (!response.ok) throw await refuse(response);
      if (!isJson(response)) throw notOllama();
      return read(response);
    },
  });
}

function* toDeltas(
  { message, done, model, ...last }: ChatResponse,
  raw: RawMessage | undefined,
): Generator<Delta> {
  if (message.thinking) yield { type: 'thought', text: message.thinking };
  if (message.content) yield { type: 'text', text: message.content };
  for (const call of message.tool_calls ?? []) yield toCall(call);
  if (!done) return;
  if (!last.done_reason) throw truncated();
  const reason = toFinish(last.done_reason);
  yield { type: 'finish', reason, usage: toUsage(last), model, ...(raw && { raw }) };
}

/** The client's type knows no id; servers since 0.12 give one. */
function toCall({ id, function: { name, arguments: args } }: WireCall): Delta {
  return {
    type: 'tool_call',
    ...(typeof id === 'string' && { providerId: id }),
    name,
    arguments: args ?? {},
  };
}

type WireCall = ToolCall & { id?: unknown };

function toFinish(doneReason: string): FinishReason {
  return doneReason === 'stop' || doneReason === 'length' ? doneReason : 'other';
}

/** Ollama leaves out a count of zero, as of a prompt that it still had in its cache. */
function toUsage(counts: { prompt_eval_count?: number; eval_count?: number }): Usage {
  return {
    ...(counts.prompt_eval_count !== undefined && { input_tokens: counts.prompt_eval_count }),
    ...(counts.eval_count !== undefined && { output_tokens: counts.eval_count }),
  };
}
