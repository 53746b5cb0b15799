import type { ChatRequest } from 'ollama';
import type { Logger } from '../../observe/logger.js';
import type { Response } from '../http.js';
import { hasClientTools, type Prompt, type Provider, ProviderError } from '../provider.js';
import { quote, textsOf } from '../quote.js';
import { type ProviderApi, streamAnswer } from '../stream-answer.js';
import { toAddress } from './address.js';
import { createOllamaParser } from './answer.js';
import { connect } from './client.js';
import { UnsupportedError, OLLAMA_ADVICE, refusedAnswer } from './errors.js';
import { isLoaded, loadModel } from './inspect.js';
import { createInstallation, type Installation } from './installation.js';
import { toMessages, toTools } from './messages.js';

export interface OllamaOptions {
  /** A URL, or a host with or without port, as in `OLLAMA_HOST`. */
  host: string;
  /** The newest installed model that can chat unless given. */
  model?: string | undefined;
  /** The limit of prompt and answer together in tokens. The model's own setting unless given. */
  numCtx?: number | undefined;
  /** The time for which Ollama keeps the model in memory after an answer, such as `10m`, or in seconds. */
  keepAlive?: string | number | undefined;
  /** True to load the model in the background as soon as it is found. False unless given. */
  preload?: boolean | undefined;
  /** The limit of `preload` in milliseconds; 0 for no limit. 300,000 unless given. */
  loadMs?: number | undefined;
  /** True if a missing Ollama is not a problem until it was found once. False unless given. */
  isOptional?: boolean | undefined;
  /** Receives the Ollama that was found, and a missing model. */
  logger?: Logger | undefined;
}

type UnsupportedFeatures = UnsupportedError['lacks'];

/** A model that has answered within this time is in memory. */
const RECENT_MS = 10_000;

/**
 * Provider for a model that runs on a machine of the operator. Leaves out tools and thinking if the model
 * does not support them.
 *
 * @throws {TypeError} `host` is not an address.
 */
export function ollama(options: OllamaOptions): Provider {
  const { host, isOptional = false, logger, keepAlive, numCtx } = options;
  const address = toAddress(host);
  const lacking = new Set<UnsupportedFeatures>();
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

  /** The client only sends the request. Its parser is not used, because it skips lines that are not JSON. */
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

  /** Uses `model` and `refusal` as they are when the call begins. */
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
            const request = toRequest(prompt, { ...options, model }, without);
            const answer = await send(request, prompt, signal);
            // Ollama may have refused the tools of a client, and another request is not affected.
            if (!hasClientTools(prompt)) for (const each of without) lacking.add(each);
            return answer;
          } catch (error) {
            if (!(error instanceof UnsupportedError) || without.has(error.lacks)) throw error;
            without.add(error.lacks);
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

/**
 * The client's type lacks `truncate` and `shift`. Without them, Ollama silently cuts prompts that do not fit.
 */
function toRequest(
  prompt: Prompt,
  { model, numCtx, keepAlive }: Pick<OllamaOptions, 'numCtx' | 'keepAlive'> & { model: string },
  without: ReadonlySet<UnsupportedFeatures>,
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
