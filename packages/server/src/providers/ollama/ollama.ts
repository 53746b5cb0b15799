import type { ChatRequest } from 'ollama';
import type { Logger } from '../../observe/logger.js';
import type { Response } from '../http.js';
import { type Prompt, type Provider, ProviderError } from '../provider.js';
import { quote, textsOf } from '../quote.js';
import { type ProviderApi, streamAnswer } from '../stream-answer.js';
import { toAddress } from './address.js';
import { createOllamaParser } from './answer.js';
import { connect } from './client.js';
import { LacksError, OLLAMA_ADVICE, refusedAnswer } from './errors.js';
import { isLoaded, loadModel } from './inspect.js';
import { createInstallation, type Installation } from './installation.js';
import { toMessages, toTools } from './messages.js';

export interface OllamaOptions {
  /** As `OLLAMA_HOST` has it: a URL, or a host with or without port. */
  host: string;
  /** The newest installed model that can chat unless given. */
  model?: string | undefined;
  /** Tokens that the prompt and the answer may have together; the model's own setting unless given. */
  numCtx?: number | undefined;
  /** How long Ollama keeps the model in memory after an answer, such as `10m`, or seconds. */
  keepAlive?: string | number | undefined;
  /** Loads the model as soon as it is found, in the background. False unless given. */
  preload?: boolean | undefined;
  /** Milliseconds that `preload` may take; 0 for no limit. 300,000 unless given. */
  loadMs?: number | undefined;
  /** True if an Ollama that was never there is nothing to warn of. False unless given. */
  isOptional?: boolean | undefined;
  /** Is told of the Ollama that was found, and of a model that is missing. */
  logger?: Logger | undefined;
}

type Lacking = LacksError['lacks'];

/** A model that has just answered is in memory. */
const RECENT_MS = 10_000;

/**
 * A model that runs on a machine of the operator. One without tools or thinking is asked without them.
 *
 * @throws {TypeError} `host` is not an address.
 */
export function ollama(options: OllamaOptions): Provider {
  const { host, isOptional = false, logger, keepAlive, numCtx } = options;
  const address = toAddress(host);
  const lacking = new Set<Lacking>();
  let answeredAt = -Infinity;
  let isPreloading = options.preload === true;

  const installation = createInstallation({
    host,
    model: options.model,
    isOptional,
    logger,
    onFound({ name, capabilities }) {
      lacking.clear();
      if (capabilities.length > 0) {
        for (const each of ['tools', 'thinking'] as const)
          if (!capabilities.includes(each)) lacking.add(each);
      }
      if (isPreloading) void preload(name);
    },
  });

  async function preload(model: string): Promise<void> {
    const { loadMs = 300_000 } = options;
    isPreloading = false;
    const startedAt = performance.now();
    const signal = loadMs === 0 ? new AbortController().signal : AbortSignal.timeout(loadMs);
    try {
      await loadModel(host, model, signal, { keepAlive, numCtx });
      const ms = Math.round(performance.now() - startedAt);
      logger?.info({ event: 'OLLAMA_MODEL_LOADED', model, loadMs: ms });
    } catch (error) {
      logger?.warn({ event: 'OLLAMA_LOAD_FAILED', model, err: error });
    }
  }

  /** The client makes the request; its reader stays unused, since it skips lines that are not JSON. */
  async function send(
    request: ChatRequest & { stream: true },
    prompt: Prompt,
    signal: AbortSignal,
  ) {
    let answer: Response | undefined;
    const refuse = (response: Response) => refusedAnswer(response, request.model, prompt);
    const client = connect(address, signal, refuse, (response) => (answer = response));
    try {
      await client.chat(request);
    } catch (error) {
      if (error instanceof ProviderError && !signal.aborted) installation.noteFailure(error);
      throw error;
    }
    if (answer === undefined) throw new Error('the Ollama client made no request');
    installation.noteAnswer();
    if (keepAlive !== 0) answeredAt = performance.now();
    return answer;
  }

  /** `model` and `refusal` stay as they are when the call begins. */
  function apiOf({ model, refusal }: Installation): ProviderApi {
    const isRecent = performance.now() - answeredAt < RECENT_MS;
    return {
      name: 'ollama',
      advice: OLLAMA_ADVICE,
      async ask(prompt, signal) {
        if (refusal !== undefined) throw refusal;
        const without = new Set(lacking);
        for (;;) {
          try {
            return await send(toRequest(prompt, { ...options, model }, without), prompt, signal);
          } catch (error) {
            if (!(error instanceof LacksError) || without.has(error.lacks)) throw error;
            without.add(error.lacks);
            lacking.add(error.lacks);
          }
        }
      },
      isLoaded: isRecent ? undefined : (signal) => isLoaded(host, model, signal),
      createParser: (prompt) =>
        createOllamaParser({
          model,
          hasTools: (prompt.tools ?? []).length > 0,
          continues: prompt.continues,
          quoted: (words) => quote(words, textsOf(prompt)),
        }),
    };
  }

  return {
    name: 'ollama',
    canContinue: true,
    hasJsonMode: true,
    get model() {
      return installation.model;
    },
    get problem() {
      return installation.problem;
    },
    prepare: () => installation.prepare(),
    withModel: (model) => ollama({ ...options, model, preload: false }),
    stream: (prompt, signal) => streamAnswer(apiOf(installation), prompt, signal),
  };
}

/** The client's type is older than `truncate` and `shift`. Without them, Ollama cuts what does not fit. */
function toRequest(
  prompt: Prompt,
  { model, numCtx, keepAlive }: Pick<OllamaOptions, 'numCtx' | 'keepAlive'> & { model: string },
  without: ReadonlySet<Lacking>,
): ChatRequest & { stream: true; truncate: false; shift: false } {
  const { tools = [], toolChoice, stop = [] } = prompt;
  const offersTools = tools.length > 0 && toolChoice !== 'none' && !without.has('tools');
  return {
    model,
    stream: true,
    truncate: false,
    shift: false,
    ...(keepAlive !== undefined && { keep_alive: keepAlive }),
    ...(prompt.thoughts && !without.has('thinking') && { think: true }),
    messages: toMessages(prompt),
    ...(prompt.responseSchema !== undefined && { format: prompt.responseSchema }),
    ...(offersTools && { tools: toTools(tools) }),
    options: {
      ...(prompt.temperature !== undefined && { temperature: prompt.temperature }),
      ...(prompt.topP !== undefined && { top_p: prompt.topP }),
      ...(prompt.topK !== undefined && { top_k: prompt.topK }),
      ...(prompt.maxTokens !== undefined && { num_predict: prompt.maxTokens }),
      ...(stop.length > 0 && { stop: [...stop] }),
      ...(prompt.seed !== undefined && { seed: prompt.seed }),
      ...(numCtx !== undefined && { num_ctx: numCtx }),
    },
  };
}
