import { type FinishReason, type Source, StreamError, type Usage } from '@rivulet/protocol';
import type { Entry, StartEntry, StreamedEntry } from '../entry.js';
import { type Logger, logErrorFacts } from '../observe/logger.js';
import type { StreamMetrics } from '../observe/metrics.js';
import type { Preemption } from '../preemption.js';
import type { GenerateRequest } from '../request.js';
import { resolveSettings } from '../settings/resolve-settings.js';
import type { CoreLimits } from '../settings/settings.js';
import { type CachedAnswer, cacheKey, type ResponseCache } from './cache.js';
import { FlatText } from './flat-text.js';
import { buildPrompt, type PromptDefaults } from './prompt.js';
import type { Prompt, Provider } from '../providers/provider.js';
import type { Requester } from '../upstream/queue.js';
import {
  createRouter,
  type ProviderStatus,
  type Providers,
  type Router,
  type RouterOptions,
} from '../upstream/failover.js';
import { Run, unitsOf } from './run.js';
import { answerWithTools } from './tool-loop.js';
import type { Tool } from './tools/tool.js';
import { createToolbox, type Toolbox } from './tools/toolbox.js';
import type { UpstreamEvents } from '../upstream/upstream.js';

export interface LlmServiceOptions {
  providers: Providers;
  prompt: PromptDefaults;
  cache: ResponseCache | undefined;
  /** What the model may call; nothing unless given. */
  tools?: readonly Tool[];
  /** `restart` unless given; see `Settings`. */
  onMidstreamFailure?: RouterOptions['onMidstreamFailure'];
  /** The defaults of the settings unless given. */
  limits?: Partial<CoreLimits>;
  logger: Logger;
  metrics: StreamMetrics;
}

export interface GenerateCallOptions {
  signal?: AbortSignal;
  /** Whether pieces of the model's thinking are yielded as entries of their own. */
  thoughts?: boolean;
  /** Lets the queue of a busy provider end this request in favour of another one; never unless given. */
  preemption?: Preemption;
  /**
   * Called when a provider failed after text, and another could begin the answer again. Return false to
   * end the answer with the failure; it begins again unless given.
   */
  mayRestart?: (failure: StreamError) => boolean;
}

/** A complete answer, and who gave it. */
export interface CompleteResponse {
  text: string;
  source: Source;
  provider: string;
  model: string;
  finishReason: FinishReason;
  usage: Usage;
}

/** The streaming core: cache, prompt, providers, tools, cache. It knows no socket and no reader. */
export class LlmService {
  readonly #options: LlmServiceOptions;
  readonly #limits: CoreLimits;
  readonly #router: Router;
  readonly #toolbox: Toolbox;

  /** Throws a `TypeError` when two tools have one name. */
  constructor(options: LlmServiceOptions) {
    const { providers, metrics, tools = [], onMidstreamFailure = 'restart' } = options;
    const logger = logErrorFacts(options.logger);
    this.#options = { ...options, logger };
    this.#limits = { ...resolveSettings({ env: {} }).limits, ...options.limits };
    this.#toolbox = createToolbox(tools, this.#limits, logger);
    this.#router = createRouter(
      providers,
      { onMidstreamFailure, maxQueued: this.#limits.maxQueued },
      upstreamEvents(logger, metrics),
    );
    for (const { name } of this.#router.status()) {
      const status = (): ProviderStatus => this.#router.status().find((s) => s.name === name)!;
      metrics.gauges.queueLength(name, () => status().waiting);
      metrics.gauges.breakerState(name, () => status().breaker);
    }
  }

  /** The current status of each provider, in the order in which they are asked. */
  providerStatus(): ProviderStatus[] {
    return this.#router.status();
  }

  /**
   * Streams one answer: a `start` for each attempt, text, tools, and one `end` or `error` as the last
   * entry. Before an attempt, and before it goes on after tools, a `queued` comes whenever its place in
   * the queue changes, if it has to wait; `thought`s come only when asked for. It does not throw;
   * aborting `signal` ends it with the error `cancelled`.
   */
  async *generateResponseStream(
    request: GenerateRequest,
    {
      signal = new AbortController().signal,
      thoughts = false,
      preemption,
      mayRestart,
    }: GenerateCallOptions = {},
  ): AsyncGenerator<StreamedEntry, void, undefined> {
    const { providers, logger, metrics, cache } = this.#options;
    const mode = request.options?.cache ?? 'default';
    const maxCachedUnits = mode === 'no-store' ? 0 : (cache?.maxAnswerUnits ?? Infinity);
    const run = new Run(logger, metrics, cache === undefined ? 0 : maxCachedUnits);
    const { maxResponseUnits } = this.#limits;
    try {
      const built = buildPrompt(request, this.#options.prompt, this.#toolbox.tools);
      const prompt: Prompt = thoughts ? { ...built, thoughts } : built;
      const keyOf = (provider: Provider): string => cacheKey(request.principal, provider, prompt);

      const first = providers[0].provider;
      const hit = mode === 'default' ? this.#lookUp(keyOf(first)) : undefined;
      if (hit !== undefined) {
        run.cacheHit = true;
        yield run.note(startEntry(1, 'cache', first));
        yield run.note({ type: 'text', text: hit.text });
        yield run.note(run.end('stop', hit.usage));
        return;
      }

      const requester: Requester = {
        mayRestart,
        principal: request.principal ?? Symbol('a principal of its own'),
        signal,
        preemption,
      };
      // One loop for all that an entry goes through here: each generator more costs every token.
      const steps = answerWithTools(this.#router, prompt, this.#toolbox, requester, run.fallback);
      for await (const step of steps) {
        switch (step.type) {
          case 'queued':
            yield step;
            break;
          case 'thought':
            if (thoughts) yield step;
            break;
          case 'attempt':
            yield run.note(startEntry(run.attempt + 1, 'model', step.provider, step.failure));
            break;
          case 'text':
          case 'tool_call':
          case 'tool_result':
            if (run.units + unitsOf(step) > maxResponseUnits) throw tooLarge(maxResponseUnits);
            yield run.note(step);
            break;
          case 'finish':
            // What a tool found may be another thing tomorrow, and what it did was done for this request.
            if (step.reason === 'stop' && !run.usedTools) {
              const { text = '' } = run;
              if (text !== '') this.#keep(keyOf(step.provider), { text, usage: step.usage });
            }
            yield run.note(run.end(step.reason, step.usage));
        }
      }
    } catch (error) {
      yield run.note(run.failure(error, signal));
    } finally {
      run.report();
    }
  }

  /**
   * The same answer, whole. Throws a `StreamError`, with what had come in `partialText`, where the
   * stream would end with `error`.
   */
  async generateResponse(
    request: GenerateRequest,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<CompleteResponse> {
    let start: StartEntry | undefined;
    let text = new FlatText();
    for await (const entry of this.generateResponseStream(request, { ...(signal && { signal }) })) {
      if (entry.type === 'start') [start, text] = [entry, new FlatText()];
      else if (entry.type === 'text') text.add(entry.text);
      else if (entry.type === 'error') {
        const { code, message, retryAfterMs } = entry;
        throw new StreamError(code, message, { retryAfterMs, partialText: text.read() ?? '' });
      } else if (entry.type === 'end' && start !== undefined) {
        const { source, provider, model } = start;
        return {
          text: text.read() ?? '',
          source,
          provider,
          model,
          finishReason: entry.finishReason,
          usage: entry.usage,
        };
      }
    }
    throw new StreamError('internal', 'unable to finish the answer: it had no end');
  }

  #lookUp(key: string): CachedAnswer | undefined {
    try {
      return this.#options.cache?.get(key);
    } catch (error) {
      this.#options.logger.warn({ event: 'LLM_CACHE_FAILED', operation: 'get', err: error });
      return undefined;
    }
  }

  #keep(key: string, answer: CachedAnswer): void {
    try {
      this.#options.cache?.set(key, answer);
    } catch (error) {
      this.#options.logger.warn({ event: 'LLM_CACHE_FAILED', operation: 'set', err: error });
    }
  }
}

function upstreamEvents(logger: Logger, metrics: StreamMetrics): UpstreamEvents {
  return {
    onCall: ({ name, model }) => metrics.beginModelCall(name, model),
    onMisconfigured: ({ name, model }, error) =>
      logger.error({ event: 'LLM_PROVIDER_MISCONFIGURED', provider: name, model, err: error }),
    onBreakerChange: ({ name }, state) =>
      logger.warn({ event: 'LLM_PROVIDER_BREAKER', provider: name, state }),
  };
}

function startEntry(
  attempt: number,
  source: 'model' | 'cache',
  { name, model }: Provider,
  failure?: StreamError,
): Entry {
  return {
    type: 'start',
    attempt,
    source,
    provider: name,
    model,
    ...(failure && { reason: failure.message, reasonCode: failure.code }),
  };
}

function tooLarge(units: number): StreamError {
  return new StreamError(
    'too_large',
    `unable to finish the answer: it passed ${units} UTF-16 units; ask for less at a time`,
  );
}
