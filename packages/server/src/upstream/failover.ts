import { StreamError } from '@rivulet/protocol';
import { LRUCache } from 'lru-cache';
import type { BreakerState } from '../observe/gauges.js';
import {
  type ModelName,
  type Prompt,
  type Provider,
  ProviderError,
} from '../providers/provider.js';
import { withDefaults } from '../with-defaults.js';
import { type AcquiredSlot, acquireSlot } from './acquire-slot.js';
import { type Breaker, createBreaker } from './breaker.js';
import { callProvider, type Deadlines, type Turn, type TurnSink } from './provider-call.js';
import {
  createQueue as createOwnQueue,
  type CreateQueue,
  ownerOf,
  type Queue,
  type Requester,
} from './queue.js';

/** A provider and its options. */
export interface ProviderConfig {
  provider: Provider;
  /**
   * The deadlines of each call. Unless given: 30 s until the first text, after up to 300 s for loading the
   * model; 60 s between two pieces; no limit in total.
   */
  deadlines?: { readonly [Name in keyof Deadlines]?: Deadlines[Name] | undefined } | undefined;
  /** The limit of concurrent answers. Further requests wait. No limit unless given. */
  concurrency?: number | undefined;
  /** True to retry once after a failure before the first text. */
  retries?: boolean | undefined;
  /**
   * The owner of the `concurrency` limit. Processes that share a Redis share it between providers of the same
   * pool. The provider's name unless given.
   */
  pool?: string | undefined;
}

/** The providers in the order in which they are called. The first available one answers. */
export type Providers = readonly [ProviderConfig, ...ProviderConfig[]];

/** A provider with the state that all its calls share. */
export interface Upstream {
  readonly provider: Provider;
  readonly deadlines: Deadlines;
  readonly retries: boolean;
  readonly queue: Queue;
  readonly breaker: Breaker;
  /** The newest refusal because of the configuration, until a call succeeds. */
  refusal: { error: ProviderError; at: number } | undefined;
  /**
   * @returns the state of another model of the provider. It shares the queue, but not the breaker, because a
   * model that does not exist says nothing about the provider.
   */
  withModel(model: string): Upstream;
}

/** The events for the operator. */
export interface UpstreamEvents {
  onBreakerChange(provider: ModelName, state: BreakerState): void;
}

export interface FailoverOptions {
  /**
   * The reaction to a failure after text was written: an attempt of the next provider, or the end. With
   * `fail`, such an answer waits for a busy provider, however long that takes.
   */
  onMidstreamFailure: 'restart' | 'fail';
  /** The limit of requests that wait for each provider. */
  maxQueued: number;
  /** Creates the queue of each provider. The queue of this process unless given. */
  createQueue?: CreateQueue | undefined;
}

/** Receives the answer of one provider or, after a failure, of the next. */
export interface AnswerSink extends TurnSink {
  /** The request waits for a slot, with `ahead` requests before it; 0 when it has a slot. */
  onQueued(ahead: number): void;
  /**
   * Begins an attempt: text or a thought of `provider` follows. `failure` is the error of the provider before
   * it, whose text is discarded.
   */
  begin(provider: ModelName, failure: StreamError | undefined): void;
  /**
   * Looks for a cached answer of `provider`. Called before the provider is called for a new answer. `failure`
   * is the error of the provider before it.
   *
   * @returns true if the sink has written the whole answer.
   */
  beginFromCache(provider: ModelName, failure: StreamError | undefined): boolean | Promise<boolean>;
  /** `from` failed, and `to` is called next. */
  onFallback(from: ModelName, to: ModelName, error: StreamError): void;
}

/** The end of a turn, and its provider. */
export interface AnsweredTurn extends Turn {
  provider: Provider;
  /** The provider's model at the time of the call. */
  model: string;
}

/** The reason why a provider cannot answer at the moment. */
export interface ProviderProblem {
  /**
   * `misconfigured` until an operator changes something; `unavailable` if it was not reached or kept failing.
   */
  failure: 'misconfigured' | 'unavailable';
  /** The advice for the operator, such as a setting to check. It contains no key and no host. */
  advice: string | undefined;
}

/** The status of a provider. */
export interface ProviderStatus {
  name: string;
  model: string;
  breaker: BreakerState;
  /** Undefined while no problem is known. */
  problem: ProviderProblem | undefined;
  /** The number of requests in progress. */
  running: number;
  /** The number of waiting requests. A request that waits for two providers is counted for both. */
  waiting: number;
}

export interface Failover {
  /**
   * Calls the providers in turn. After a failure before the first text, the next provider is called; after a
   * later failure, the answer restarts. With `after`, a provider that has written a part of the answer and
   * called tools, the answer continues with that provider.
   *
   * @returns undefined if the sink had a cached answer.
   * @throws {StreamError} no provider answered; unsupported, if none of them can continue a text, or answer
   * with JSON, where the prompt requires it.
   * @throws `signal.reason` when the requester's signal aborts.
   */
  ask(
    prompt: Prompt,
    requester: Requester,
    sink: AnswerSink,
    after?: Provider,
  ): Promise<AnsweredTurn | undefined>;
  /**
   * Returns the status at once. Providers with a problem are checked again in the background, so that it is
   * also detected without requests.
   */
  status(): ProviderStatus[];
}

/** The limit of additional models of one provider that are kept with their breakers. */
const MAX_MODELS = 64;

/**
 * The time for which a refusal counts. A server that is not ready receives no requests, so it would never
 * detect the end of a problem otherwise.
 */
const REFUSAL_MS = 300_000;

const DEFAULT_DEADLINES: Deadlines = {
  loadMs: 300_000,
  firstChunkMs: 30_000,
  stallMs: 60_000,
  totalMs: 0,
};

export function createFailover(
  [preferred, ...others]: Providers,
  { onMidstreamFailure, maxQueued, createQueue = createOwnQueue }: FailoverOptions,
  events: UpstreamEvents,
): Failover {
  const upstreamOf = (config: ProviderConfig, sharedQueue?: Queue): Upstream => {
    const { provider, deadlines, concurrency = Infinity, retries = false } = config;
    const { name } = provider;
    const { pool } = config;
    const queue = sharedQueue ?? createQueue({ name, concurrency, maxQueued, pool });
    const otherModels = new LRUCache<string, Upstream>({ max: MAX_MODELS });
    const upstream: Upstream = {
      provider,
      deadlines: withDefaults(DEFAULT_DEADLINES, deadlines),
      retries,
      queue,
      breaker: createBreaker(name, (state) => events.onBreakerChange(provider, state)),
      refusal: undefined,
      withModel(model) {
        if (provider.withModel === undefined || model === provider.model) return upstream;
        const known = otherModels.get(model);
        if (known !== undefined) return known;
        const other = upstreamOf({ ...config, provider: provider.withModel(model) }, queue);
        otherModels.set(model, other);
        return other;
      },
    };
    return upstream;
  };
  const configured = [
    upstreamOf(preferred),
    ...others.map((config) => upstreamOf(config)),
  ] as const;

  function upstreamsFor(models: Readonly<Record<string, string>>): readonly Upstream[] {
    return configured.map((upstream) => {
      const { name } = upstream.provider;
      const model = Object.hasOwn(models, name) ? models[name] : undefined;
      return model === undefined ? upstream : upstream.withModel(model);
    });
  }

  async function ask(
    prompt: Prompt,
    requester: Requester,
    sink: AnswerSink,
    after?: Provider,
  ): Promise<AnsweredTurn | undefined> {
    const { signal, models } = requester;
    const all = models === undefined ? configured : upstreamsFor(models);
    const upstreams = all.filter(({ provider }) => canAnswer(provider, prompt));
    if (upstreams.length === 0) throw prompt.continues ? cannotContinue() : noJsonMode();
    const failures: StreamError[] = [];
    let isShown = after !== undefined;

    /** @returns the remaining providers after all up to `upstream` have failed. */
    function giveUp(upstream: Upstream, failure: StreamError): Upstream[] {
      failures.push(failure);
      const rest = upstreams.slice(upstreams.indexOf(upstream) + 1);
      if (rest[0]) sink.onFallback(upstream.provider, rest[0].provider, failure);
      return rest;
    }

    function acquire(some: SomeUpstreams): AcquiredSlot | Promise<AcquiredSlot> {
      return acquireSlot(some, requester, isShown, (ahead) => sink.onQueued(ahead));
    }

    /**
     * Gives up the providers of `rest` before the one of `acquired`. An answer with text that may not restart
     * waits for the first provider instead.
     *
     * @returns the slot to use.
     */
    async function move(rest: SomeUpstreams, acquired: AcquiredSlot): Promise<AcquiredSlot> {
      const { upstream, slot } = acquired;
      try {
        if (isShown && requester.mayRestart?.(tooLong(rest[0])) === false) {
          slot.release();
          return await acquire([rest[0]]);
        }
        for (const passed of rest.slice(0, rest.indexOf(upstream))) giveUp(passed, tooLong(passed));
        return acquired;
      } catch (error) {
        slot.release();
        throw error;
      }
    }

    const first = upstreams.findIndex(({ provider }) => provider === after);
    let rest: readonly Upstream[] = upstreams.slice(Math.max(0, first));
    while (isSome(rest)) {
      let asked = rest[0];
      const preparing = asked.provider.prepare?.();
      if (preparing !== undefined) await orAborted(preparing, signal);
      if (after === undefined) {
        const cached = sink.beginFromCache(asked.provider, failures.at(-1));
        if (cached === true || (cached !== false && (await cached))) return undefined;
      }
      try {
        const mayMove = !isShown || onMidstreamFailure === 'restart';
        const acquired = acquire(mayMove ? rest : [asked]);
        const waited = 'then' in acquired ? await acquired : acquired;
        const { upstream, slot } = waited.upstream === asked ? waited : await move(rest, waited);
        asked = upstream;
        const { provider, deadlines, retries, breaker } = upstream;
        if (upstream !== rest[0]) update(provider);
        // The current model, which may be replaced during the call.
        const model = { name: provider.name, model: provider.model };
        const onThought = (): void => sink.begin(model, failures.at(-1));
        const onBegin = (): void => {
          isShown = true;
          sink.begin(model, failures.at(-1));
        };
        const principal = ownerOf(requester);
        const call = {
          provider,
          model,
          deadlines,
          retries,
          breaker,
          principal,
          slot,
          prompt,
          signal,
        };
        const turn = await callProvider({ ...call, onThought, onBegin }, sink);
        upstream.refusal = undefined;
        return { ...turn, provider, model: model.model };
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof StreamError)) throw error;
        noteRefusal(asked, error);
        if (isFinal(error) || (isShown && onMidstreamFailure === 'fail')) throw error;
        const hasNext = asked !== upstreams.at(-1);
        if (isShown && hasNext && requester.mayRestart?.(error) === false) throw error;
        rest = giveUp(asked, error);
      }
    }
    throw failures.length === 1 ? failures[0]! : allFailed(failures);
  }

  return {
    ask,
    status: () =>
      configured.map((upstream) => {
        const { provider, breaker, queue } = upstream;
        if (provider.problem !== undefined) update(provider);
        return {
          name: provider.name,
          model: provider.model,
          breaker: breaker.state,
          problem: problemOf(upstream),
          running: queue.running,
          waiting: queue.waiting,
        };
      }),
  };
}

/** Updates a provider without waiting for it. A failure shows when the provider is called. */
function update(provider: Provider): void {
  (async () => provider.prepare?.())().catch(() => {});
}

/** Stores that a provider refused because of its configuration. */
function noteRefusal(upstream: Upstream, { cause }: StreamError): void {
  if (!(cause instanceof ProviderError) || cause.failure !== 'misconfigured') return;
  upstream.refusal = { error: cause, at: performance.now() };
}

function problemOf({ provider, refusal, breaker }: Upstream): ProviderProblem | undefined {
  const isRefused = refusal !== undefined && performance.now() - refusal.at < REFUSAL_MS;
  // A provider with `prepare` knows by itself whether the refusal still applies.
  const hasOwnCheck = provider.prepare !== undefined;
  const error = provider.problem ?? (isRefused && !hasOwnCheck ? refusal.error : undefined);
  if (error !== undefined) {
    const failure = error.failure === 'misconfigured' ? 'misconfigured' : 'unavailable';
    return { failure, advice: error.advice };
  }
  if (breaker.state === 'closed') return undefined;
  return { failure: 'unavailable', advice: undefined };
}

/** Waits for the promise. @throws `signal.reason` as soon as the signal aborts. */
async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = new AbortController();
  await Promise.race([
    promise,
    new Promise<void>((resolve) => {
      const options = { once: true, signal: aborted.signal };
      signal.addEventListener('abort', () => resolve(), options);
    }),
  ]);
  aborted.abort();
  signal.throwIfAborted();
}

type SomeUpstreams = readonly [Upstream, ...Upstream[]];

function isSome(rest: readonly Upstream[]): rest is SomeUpstreams {
  return rest.length > 0;
}

/** Another provider is not called after a refusal on grounds of content, or for an invalid request. */
function isFinal({ code }: StreamError): boolean {
  return (
    code === 'content_filter' ||
    code === 'bad_request' ||
    code === 'too_large' ||
    code === 'cancelled'
  );
}

function canAnswer({ canContinue, hasJsonMode }: Provider, prompt: Prompt): boolean {
  if (prompt.continues) return canContinue === true;
  return prompt.responseSchema === undefined || hasJsonMode === true;
}

function noJsonMode(): StreamError {
  return new StreamError(
    'unsupported',
    'unable to answer with JSON: no model of this server can; ask without `response_schema`',
  );
}

function cannotContinue(): StreamError {
  return new StreamError(
    'unsupported',
    'unable to continue the text: no model of this server can; ask the question again',
  );
}

function tooLong({ provider, deadlines }: Upstream): StreamError {
  return new StreamError(
    'overloaded',
    `unable to get an answer from ${provider.name}: no slot was free within ${deadlines.firstChunkMs} ms; ask again soon`,
  );
}

function allFailed(failures: readonly StreamError[]): StreamError {
  const reasons = failures.map(({ message }) => message).join('; ');
  const waits = failures.flatMap(({ retryAfterMs }) => retryAfterMs ?? []);
  const isFull = failures.every(({ code }) => code === 'overloaded');
  return new StreamError(
    isFull ? 'overloaded' : 'all_providers_failed',
    `unable to get an answer: ${reasons}`,
    {
      retryAfterMs: waits.length > 0 ? Math.min(...waits) : undefined,
      cause: new AggregateError(failures),
    },
  );
}
