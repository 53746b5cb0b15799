import { LRUCache } from 'lru-cache';
import type { Logger } from '../../observe/logger.js';
import { isHeaderValue } from '../../settings/value-types.js';
import { providerError } from '../failure.js';
import type { Response } from '../http.js';
import { hasClientTools, type Prompt, type Provider, ProviderError } from '../provider.js';
import { type ProviderApi, streamAnswer } from '../stream-answer.js';
import { createOpenAiParser } from './answer.js';
import { type OpenAiServer, send } from './client.js';
import {
  explainErrorFrame,
  explainRefusal,
  LacksError,
  OPENAI_ADVICE,
  type Parameter,
} from './errors.js';
import { chatModels } from './models.js';
import { toRequest } from './request.js';

export interface OpenAiOptions {
  /** None is sent unless given: servers of one's own often want none. */
  apiKey?: string | undefined;
  /** Of a server that speaks OpenAI's wire, such as `http://127.0.0.1:8000/v1`; OpenAI's own unless given. */
  baseUrl?: string | undefined;
  /** Unless given, `gpt-5.4-mini` of OpenAI; with `baseUrl`, the one model that the server has. */
  model?: string | undefined;
  /** Is told of parameters that the server does not take. */
  logger?: Logger | undefined;
}

const DEFAULT_MODEL = 'gpt-5.4-mini';
/** Stands for a model that is not known yet. */
const UNKNOWN_MODEL = 'unknown';
/** The limit of combinations of options for which unsupported parameters are remembered. */
const MAX_OPTIONS = 100;
const LIST_LIMIT_MS = 3_000;
/** A server that gave no list is asked again after this time. */
const LIST_FRESH_MS = 2_000;

/** OpenAI, or a server that speaks its chat completions: vLLM, llama.cpp, LM Studio, OpenRouter, Groq. */
export function openai(options: OpenAiOptions): Provider {
  const { apiKey, logger } = options;
  const baseUrl = options.baseUrl?.replace(/\/+$/, '');
  const server: OpenAiServer = { apiKey, baseUrl };
  let model = options.model ?? (baseUrl === undefined ? DEFAULT_MODEL : undefined);
  const isUnusable = apiKey !== undefined && !isHeaderValue(apiKey);
  let problem = isUnusable ? unusableKey() : undefined;
  let listing: Promise<void> | undefined;
  let listedAt = -Infinity;
  /** OpenAI's own servers do not support `top_k`. */
  const known: readonly Parameter[] = baseUrl === undefined ? ['max_tokens', 'top_k'] : [];
  /**
   * The parameters that the model's server does not support, by the options of the request: a client may have
   * chosen a value that only its own requests are refused for.
   */
  const lacking = new LRUCache<string, ReadonlySet<Parameter>>({ max: MAX_OPTIONS });
  const logged = new Set<Parameter>();

  async function findModel(): Promise<void> {
    try {
      const models = await chatModels(server, AbortSignal.timeout(LIST_LIMIT_MS));
      problem = models.length === 1 ? undefined : noSingleModel(models.length);
      if (models.length !== 1) return;
      model = models[0];
      // From now on, a refusal of an answer says whether the provider is set up correctly.
      delete provider.prepare;
    } catch (error) {
      problem = error instanceof ProviderError ? error : tooSlow();
    } finally {
      listedAt = performance.now();
      listing = undefined;
    }
  }

  async function ask(
    prompt: Prompt,
    body: ReturnType<typeof toRequest>,
    signal: AbortSignal,
  ): Promise<Response> {
    let answer: Response | undefined;
    await send(
      server,
      signal,
      (response) => explainRefusal(response, { apiKey, prompt }),
      (client) => client.chat.completions.create(body).asResponse(),
      (response) => (answer = response),
    );
    if (answer === undefined) throw new Error('the OpenAI client made no request');
    return answer;
  }

  /** `asked` and `refusal` stay as they are when the call begins. */
  function apiOf(asked: string, refusal: ProviderError | undefined): ProviderApi {
    return {
      name: 'openai',
      advice: OPENAI_ADVICE,
      async ask(prompt, signal) {
        if (refusal !== undefined) throw refusal;
        const chosen = optionsOf(prompt);
        const without = new Set<Parameter>([...known, ...(lacking.get(chosen) ?? [])]);
        const found: Parameter[] = [];
        for (;;) {
          const body = toRequest(prompt, asked, without);
          try {
            const answer = await ask(prompt, body, signal);
            if (!hasClientTools(prompt)) noteLack(chosen, found);
            return answer;
          } catch (error) {
            if (isModelGone(error)) forgetModel();
            if (!(error instanceof LacksError)) throw error;
            const { parameter } = error;
            const isSent = parameter in body || parameter === 'reasoning';
            if (!isSent || without.has(parameter)) throw error;
            without.add(parameter);
            found.push(parameter);
          }
        }
      },
      createParser: (prompt) =>
        createOpenAiParser({
          model: asked,
          hasTools: (prompt.tools ?? []).length > 0,
          explain: (error) => explainErrorFrame(error, { apiKey, prompt }),
        }),
    };
  }

  /**
   * Called when the same request without the parameters was accepted. A request with tools of a client is not
   * noted: the server may have refused those.
   */
  function noteLack(chosen: string, found: readonly Parameter[]): void {
    if (found.length === 0) return;
    lacking.set(chosen, new Set([...(lacking.get(chosen) ?? []), ...found]));
    for (const parameter of found) {
      if (logged.has(parameter)) continue;
      logged.add(parameter);
      logger?.warn({ event: 'OPENAI_PARAMETER_REFUSED', parameter, model });
    }
  }

  /** The server may have another model by now. */
  function forgetModel(): void {
    if (options.model !== undefined || baseUrl === undefined) return;
    model = undefined;
    listedAt = -Infinity;
    provider.prepare = prepare;
  }

  function prepare(): Promise<void> | undefined {
    if (listing === undefined && performance.now() - listedAt < LIST_FRESH_MS) return undefined;
    return (listing ??= findModel());
  }

  const provider: Provider = {
    name: 'openai',
    hasJsonMode: true,
    get model() {
      return model ?? UNKNOWN_MODEL;
    },
    get problem() {
      return problem;
    },
    ...(model === undefined && !isUnusable && { prepare }),
    withModel: (other) => openai({ ...options, model: other }),
    stream: (prompt, signal) =>
      streamAnswer(apiOf(model ?? UNKNOWN_MODEL, problem), prompt, signal),
  };
  return provider;
}

/** @returns the options that a client can choose, as a key. */
function optionsOf({ temperature, topP, topK, maxTokens, stop, seed }: Prompt): string {
  return JSON.stringify([temperature, topP, topK, maxTokens, stop, seed]);
}

function isModelGone(error: unknown): boolean {
  return error instanceof ProviderError && error.status === 404;
}

function unusableKey(): ProviderError {
  const advice = 'Check OPENAI_API_KEY';
  const detail = `unable to ask openai: the key has characters that no HTTP header may have. ${advice}`;
  return providerError('misconfigured', detail, { advice });
}

function noSingleModel(count: number): ProviderError {
  const advice =
    count === 0
      ? 'Set OPENAI_MODEL, and check OPENAI_BASE_URL'
      : 'Set OPENAI_MODEL to the model that answers';
  const detail = `the server of OPENAI_BASE_URL lists ${count} models that may chat. ${advice}`;
  return providerError('misconfigured', detail, { advice });
}

function tooSlow(): ProviderError {
  const detail = `openai did not list its models in time. ${OPENAI_ADVICE}`;
  return providerError('unavailable', detail, { advice: OPENAI_ADVICE });
}
