import { randomUUID } from 'node:crypto';
import { addAbortListener } from 'node:events';
import { type Context, context } from '@opentelemetry/api';
import {
  type ClientTool,
  type FinishReason,
  type Source,
  StreamError,
  type Usage,
} from '@rivulet/protocol';
import type {
  EndEntry,
  EntrySink,
  ErrorEntry,
  ResumedAnswer,
  StartEntry,
  StreamedEntry,
} from '../entry.js';
import { type Logger, logErrorFacts } from '../observe/logger.js';
import type { StreamMetrics } from '../observe/metrics.js';
import type { PreparedRequest } from '../hooks.js';
import type { Preemption } from '../preemption.js';
import type { ModelName, Prompt } from '../providers/provider.js';
import type { GenerateRequest } from '../request.js';
import { resolveSettings } from '../settings/resolve-settings.js';
import type { CoreLimits } from '../settings/settings.js';
import {
  createFailover,
  type Failover,
  type FailoverOptions,
  type ProviderStatus,
  type Providers,
} from '../upstream/failover.js';
import type { Requester } from '../upstream/queue.js';
import { AnswerWriter } from './answer-writer.js';
import { type CachedAnswer, cacheKey, type CacheScope, type ResponseCache } from './cache.js';
import { EntryQueue } from './entry-queue.js';
import { withDefaults } from '../with-defaults.js';
import { FlatText } from './flat-text.js';
import { buildPrompt, type PromptDefaults } from './prompt.js';
import { answerWithTools } from './tool-loop.js';
import { clientTool, type Tool } from './tools/tool.js';
import { createToolbox, type Toolbox } from './tools/toolbox.js';
import type { ToolReplies } from '../tool-replies.js';

/** A cache that has not answered by then has missed. */
const CACHE_TIMEOUT_MS = 1_000;

export interface LlmServiceOptions {
  providers: Providers;
  prompt: PromptDefaults;
  cache: ResponseCache | undefined;
  /** See `cache.scope` in `Settings`. */
  cacheScope?: CacheScope | undefined;
  /** Functions that the model may call; none unless given. */
  tools?: readonly Tool[] | undefined;
  /** `restart` unless given; see `Settings`. */
  onMidstreamFailure?: FailoverOptions['onMidstreamFailure'] | undefined;
  /** The defaults of the settings unless given. */
  limits?: { readonly [Name in keyof CoreLimits]?: CoreLimits[Name] | undefined } | undefined;
  /** Creates the queue of each provider. The queue of this process unless given. */
  createQueue?: FailoverOptions['createQueue'];
  /** Called by `close`. */
  onClose?: (() => void) | undefined;
  logger: Logger;
  metrics: StreamMetrics;
}

export interface GenerateCallOptions {
  signal?: AbortSignal | undefined;
  /** True to receive the model's thoughts as entries. `options.thoughts` of the request unless given. */
  thoughts?: boolean | undefined;
  /** Lets the queue of a busy provider end this request in favour of another one. Never unless given. */
  preemption?: Preemption | undefined;
  /**
   * Called when a provider failed, or was busy for too long, after text was written, and another provider could
   * restart the answer. Return false to end the answer with the failure, or to wait for the busy provider. The answer
   * restarts unless given.
   */
  mayRestart?: ((failure: StreamError) => boolean) | undefined;
  /**
   * Called with the tokens of all calls of providers that have ended, whenever another one has: those of tool turns and
   * failed attempts, too.
   */
  onUsage?: ((usage: Usage) => void) | undefined;
  /** Identifies the answer in log lines, as `requestId`. A random UUID unless given. */
  requestId?: string | undefined;
  /** Identifies the connection of the request in log lines. */
  connectionId?: string | undefined;
  /** The changes of a `prepare` hook. None unless given. */
  prepared?: PreparedRequest | undefined;
  /** Receives the replies of clients to calls that wait for them. Such calls fail unless given. */
  replies?: ToolReplies | undefined;
  /**
   * The part of the answer that another process has generated. The service continues it in a further attempt.
   */
  resumed?: ResumedAnswer | undefined;
  /** The cache scope if the operator has not set one. `principal` unless given. */
  defaultCacheScope?: CacheScope | undefined;
}

/** A complete answer, and the provider that generated it. */
export interface CompleteResponse {
  text: string;
  source: Source;
  provider: string;
  model: string;
  finishReason: FinishReason;
  usage: Usage;
}

/** The streaming core: cache, prompt, providers and tools. It does not know sockets or readers. */
export class LlmService {
  readonly #options: LlmServiceOptions;
  readonly #limits: CoreLimits;
  readonly #failover: Failover;
  readonly #toolbox: Toolbox;
  /** The answers in progress. */
  readonly #running = new Set<RunningAnswer>();

  /** @throws {TypeError} two tools have the same name. */
  constructor(options: LlmServiceOptions) {
    const { providers, metrics, tools = [], onMidstreamFailure = 'restart' } = options;
    const logger = logErrorFacts(options.logger);
    this.#options = { ...options, logger };
    this.#limits = withDefaults(resolveSettings({ env: {} }).limits, options.limits);
    this.#toolbox = createToolbox(tools, this.#limits);
    options.cache?.onForget?.((principal) => this.#markForgotten(principal));
    this.#failover = createFailover(
      providers,
      { onMidstreamFailure, maxQueued: this.#limits.maxQueued, createQueue: options.createQueue },
      {
        onBreakerChange: ({ name }, state) =>
          logger.warn({ event: 'LLM_PROVIDER_BREAKER', provider: name, state }),
      },
    );
    for (const { name } of this.#failover.status()) {
      const status = (): ProviderStatus => this.#failover.status().find((s) => s.name === name)!;
      metrics.gauges.queueLength(name, () => status().waiting);
      metrics.gauges.breakerState(name, () => status().breaker);
    }
  }

  /** Undefined if the operator has not set it. */
  get cacheScope(): CacheScope | undefined {
    return this.#options.cacheScope;
  }

  /** True if the model may call tools of the server. */
  get hasTools(): boolean {
    return this.#toolbox.tools.length > 0;
  }

  /** The current status of each provider, in the order in which they are called. */
  providerStatus(): ProviderStatus[] {
    return this.#failover.status();
  }

  /**
   * Streams one answer: a `start` for each attempt, text, tools, and one `end` or `error` as the last
   * entry. Before an attempt, and before it goes on after tools, a `queued` comes whenever its place in
   * the queue changes, if it has to wait, and a `loading` when a model has to be loaded first. It does not throw; aborting `signal` ends it with the error `cancelled`, or with its reason where that is a `StreamError`.
   * The provider waits while the consumer is behind. Its spans are children of the active one of the caller.
   */
  generateResponseStream(
    request: GenerateRequest,
    options: GenerateCallOptions = {},
  ): AsyncGenerator<StreamedEntry, void, undefined> {
    return this.#stream(request, options, context.active());
  }

  async *#stream(
    request: GenerateRequest,
    options: GenerateCallOptions,
    parent: Context,
  ): AsyncGenerator<StreamedEntry, void, undefined> {
    const { signal } = options;
    const controller = new AbortController();
    const link = signal && addAbortListener(signal, () => controller.abort(signal.reason));
    if (signal?.aborted) controller.abort(signal.reason);
    const entries = new EntryQueue(
      this.#toolbox.tools.length > 0 || request.clientTools !== undefined
        ? Infinity
        : this.#maxCachedUnits(request),
    );
    const written = context.with(parent, () =>
      this.writeResponse(request, entries, { ...options, signal: controller.signal }),
    );
    void written.then(() => entries.end());
    try {
      for (let taken; (taken = await entries.take()).length > 0;) {
        for (const entry of taken) yield entry;
      }
    } finally {
      link?.[Symbol.dispose]();
      controller.abort();
      entries.end();
      await written;
    }
  }

  /**
   * Writes one answer to `sink`: the entries of `generateResponseStream`, with a plain call for each.
   * Resolves after the last entry. Does not reject.
   */
  async writeResponse(
    request: GenerateRequest,
    sink: EntrySink,
    {
      signal,
      thoughts = request.options?.thoughts ?? false,
      preemption,
      mayRestart,
      onUsage,
      requestId = randomUUID(),
      connectionId,
      prepared = {},
      replies,
      resumed,
      defaultCacheScope = 'principal',
    }: GenerateCallOptions = {},
  ): Promise<void> {
    const { logger, metrics } = this.#options;
    const { clientTools = [] } = request;
    const hasClientTools = clientTools.length > 0;
    // Such a request has a principal of its own, which no later request can have.
    const isAlone = this.cacheScope === 'principal' && request.principal === undefined;
    const mayCache = !hasClientTools && !isAlone;
    const mode = mayCache ? (request.options?.cache ?? 'default') : 'no-store';
    const scope = this.cacheScope ?? defaultCacheScope;
    const maxUnits = this.#limits.maxResponseUnits;
    const { omittedMessages: omittedByCaller = 0 } = request;
    const addedMessages = prepared.context?.length ?? 0;
    const ids = { requestId, connectionId };
    const answer = new AnswerWriter({
      sink,
      signal,
      thoughts,
      omittedByCaller,
      addedMessages,
      maxUnits,
      logger,
      metrics,
      context: context.active(),
      resumed,
      onUsage,
      ...ids,
    });
    const running: RunningAnswer = { principal: request.principal, isForgotten: false };
    this.#running.add(running);
    try {
      // Without tools: the model writes a continued text, or JSON, to its end.
      const isBare =
        Boolean(request.continueText) || request.options?.response_schema !== undefined;
      const allowed = allowedTools(this.#toolbox, isBare ? false : prepared.tools);
      const toolbox = withClientTools(
        allowed,
        this.#toolbox,
        isBare || prepared.tools === false || prepared.clientTools === false ? [] : clientTools,
      );
      const built = buildPrompt(request, this.#options.prompt, toolbox.tools, prepared);
      const prompt: Prompt = thoughts ? { ...built, thoughts } : built;
      // The key does not depend on `thoughts`, because thoughts are not cached and do not change the text.
      const keyOf = (provider: ModelName): string =>
        cacheKey(scope === 'shared' ? undefined : request.principal, provider, built);
      if (mode === 'default')
        answer.readCache = (provider) => this.#readCache(() => keyOf(provider), answer.logger);
      const requester: Requester = {
        mayRestart,
        principal: request.principal ?? Symbol('a principal of its own'),
        fairnessKey: request.fairnessKey,
        signal: signal ?? new AbortController().signal,
        preemption,
        models: prepared.models,
      };
      const turn = await context.with(answer.context, () =>
        answerWithTools(this.#failover, prompt, toolbox, requester, answer, replies, resumed),
      );
      if (turn === undefined) return;
      // An answer with tool calls is not cached: their results may change, and their effects belong to this
      // request.
      const isWhole = turn.reason === 'stop' && !answer.usedTools && answer.length > 0;
      const isKept = isWhole && !running.isForgotten && mayCache;
      if (isKept && answer.length <= this.#maxCachedUnits(request))
        this.#writeCache(
          keyOf({ name: turn.provider.name, model: turn.model }),
          {
            text: sink.readText(),
            usage: turn.usage,
            ...(answer.omittedMessages > 0 && { omittedMessages: answer.omittedMessages }),
          },
          request.principal,
          answer.logger,
        );
      answer.end(turn.reason, turn.usage);
    } catch (error) {
      answer.fail(error);
    } finally {
      this.#running.delete(running);
      answer.report();
    }
  }

  /**
   * Generates a complete answer.
   *
   * @throws {StreamError} the answer ended with an error; `partialText` has the text before it.
   */
  async generateResponse(
    request: GenerateRequest,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<CompleteResponse> {
    const whole = new ResponseCollector();
    await this.writeResponse(request, whole, { ...(signal && { signal }) });
    return whole.read();
  }

  /** The answers that the response cache has in the memory of this process, the newest first. */
  *cachedAnswers(): Iterable<CachedAnswer> {
    yield* this.#options.cache?.values?.() ?? [];
  }

  /**
   * Removes the cached answers of the principal's requests, including those that other principals may
   * receive. Answers in progress for the principal are not cached.
   *
   * @throws {TypeError} the cache has no `forget`.
   */
  async forget(principal: string): Promise<void> {
    this.#markForgotten(principal);
    const { cache } = this.#options;
    if (cache === undefined) return;
    if (cache.forget === undefined) {
      throw new TypeError(
        'unable to remove cached answers: the cache must have the method `forget`',
      );
    }
    await cache.forget(principal);
  }

  /**
   * Marks the answers in progress for the principal, or for all principals if undefined, as not to be cached.
   */
  #markForgotten(principal: string | undefined): void {
    for (const running of this.#running) {
      if (principal === undefined || running.principal === principal) running.isForgotten = true;
    }
  }

  /** Closes the connections to Redis. Afterwards the service still generates answers. */
  close(): void {
    this.#options.onClose?.();
  }

  /** @returns the limit of a cacheable answer to this request, in UTF-16 units. */
  #maxCachedUnits({ options }: GenerateRequest): number {
    const { cache } = this.#options;
    if (cache === undefined || options?.cache === 'no-store') return 0;
    return cache.maxAnswerUnits ?? Infinity;
  }

  #readCache(keyOf: () => string, logger: Logger): ReturnType<ResponseCache['get']> {
    const { cache } = this.#options;
    if (cache === undefined) return undefined;
    const miss = (error: unknown): undefined => {
      logger.warn({ event: 'LLM_CACHE_FAILED', operation: 'get', err: error });
    };
    try {
      const found = cache.get(keyOf());
      return found instanceof Promise ? withTimeout(found).catch(miss) : found;
    } catch (error) {
      return miss(error);
    }
  }

  #writeCache(
    key: string,
    answer: CachedAnswer,
    principal: string | undefined,
    logger: Logger,
  ): void {
    const ignore = (error: unknown): void => {
      logger.warn({ event: 'LLM_CACHE_FAILED', operation: 'set', err: error });
    };
    try {
      Promise.resolve(this.#options.cache?.set(key, answer, principal)).catch(ignore);
    } catch (error) {
      ignore(error);
    }
  }
}

/** @throws {Error} the cache did not answer in time. */
async function withTimeout<T>(found: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`the cache did not answer within ${CACHE_TIMEOUT_MS} ms`);
    timer = setTimeout(() => reject(error), CACHE_TIMEOUT_MS);
  });
  return Promise.race([found, late]).finally(() => clearTimeout(timer));
}

interface RunningAnswer {
  readonly principal: string | undefined;
  /** True if the principal was forgotten after the request had started. */
  isForgotten: boolean;
}

function allowedTools(toolbox: Toolbox, names: PreparedRequest['tools']): Toolbox {
  if (names === undefined) return toolbox;
  const tools = names === false ? [] : toolbox.tools.filter(({ name }) => names.includes(name));
  return { ...toolbox, tools };
}

/** @throws {StreamError} bad_request, if a client's tool has the name of a tool of the server. */
function withClientTools(
  allowed: Toolbox,
  { tools: own }: Toolbox,
  clientTools: readonly ClientTool[],
): Toolbox {
  if (clientTools.length === 0) return allowed;
  const taken = clientTools.find(({ name }) => own.some((tool) => tool.name === name));
  if (taken !== undefined) {
    throw new StreamError(
      'bad_request',
      `unable to offer the tool ${JSON.stringify(taken.name)}: the server has a tool with this name; rename it`,
    );
  }
  return { ...allowed, tools: [...allowed.tools, ...clientTools.map(clientTool)] };
}

/** Collects an answer until it is complete. */
class ResponseCollector implements EntrySink {
  #text = new FlatText();
  #start: StartEntry | undefined;
  #end: EndEntry | ErrorEntry | undefined;

  write(entry: StreamedEntry): undefined {
    switch (entry.type) {
      case 'start':
        this.#start = entry;
        this.#text = new FlatText();
        break;
      case 'text':
        this.#text.add(entry.text);
        break;
      case 'end':
      case 'error':
        this.#end = entry;
        break;
      default:
    }
  }

  readText(): string {
    return this.#text.read() ?? '';
  }

  /** @throws {StreamError} the answer ended with an error. */
  read(): CompleteResponse {
    const text = this.readText();
    if (this.#end?.type === 'end' && this.#start !== undefined) {
      const { source, provider, model } = this.#start;
      const { finishReason, usage } = this.#end;
      return { text, source, provider, model, finishReason, usage };
    }
    if (this.#end?.type !== 'error') throw new Error('an answer has an end');
    const { code, message, retryAfterMs } = this.#end;
    throw new StreamError(code, message, { retryAfterMs, partialText: text });
  }
}
