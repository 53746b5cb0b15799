import { type FinishReason, StreamError, type Usage } from '@rivulet/protocol';
import type { BreakerState } from '../observe/gauges.js';
import { acquireSlot, type QueuedStep } from './acquire-slot.js';
import type { Delta, Prompt, Provider, RawMessage } from '../providers/provider.js';
import type { Requester } from './queue.js';
import {
  type ProviderConfig,
  createUpstream,
  type Upstream,
  type UpstreamEvents,
} from './upstream.js';

/** Who answers: the first that can, in this order. */
export type Providers = readonly [ProviderConfig, ...ProviderConfig[]];

/**
 * What `follow` yields: the place in the queue while it waits for one, an attempt when its first text
 * is there, then its text, then one finish. Calls of tools come with the finish: those of a provider
 * that fails before it are nobody's.
 */
export type RouteStep =
  | QueuedStep
  | { type: 'attempt'; provider: Provider; failure?: StreamError }
  | { type: 'text'; text: string }
  | { type: 'thought'; text: string }
  | {
      type: 'finish';
      provider: Provider;
      reason: FinishReason;
      usage: Usage;
      calls: readonly CallDelta[];
      raw?: RawMessage;
    };

type CallDelta = Extract<Delta, { type: 'tool_call' }>;

export interface RouterOptions {
  /** What a failure after text was shown leads to: the next provider's attempt, or the end. */
  onMidstreamFailure: 'restart' | 'fail';
  /** Requests that may wait for each provider. */
  maxQueued: number;
}

/** Told when a provider was given up for the next. */
export type OnFallback = (from: Provider, to: Provider, error: unknown) => void;

/** How a provider stands. */
export interface ProviderStatus {
  name: string;
  model: string;
  breaker: BreakerState;
  /** Requests that it is answering. */
  running: number;
  /** Requests that wait for it; one that waits for two counts in both. */
  waiting: number;
}

/** The way of requests through the providers, and what they share on it. */
export interface Router {
  /**
   * Asks the providers in turn. Before the first text the next one takes over unseen; after it, as a
   * new attempt whose text begins again. With `after`, which has shown something of the answer and
   * called tools, it goes on with that provider. Throws a `StreamError` when no answer came, and
   * `signal.reason` when the requester's signal aborted.
   */
  follow(
    prompt: Prompt,
    requester: Requester,
    onFallback: OnFallback,
    after?: Provider,
  ): AsyncGenerator<RouteStep, void, undefined>;
  status(): ProviderStatus[];
}

export function createRouter(
  [preferred, ...others]: Providers,
  { onMidstreamFailure, maxQueued }: RouterOptions,
  events: UpstreamEvents,
): Router {
  const upstreamOf = (candidate: ProviderConfig): Upstream =>
    createUpstream(candidate, maxQueued, events);
  const upstreams = [upstreamOf(preferred), ...others.map(upstreamOf)] as const;

  async function* follow(
    prompt: Prompt,
    requester: Requester,
    onFallback: OnFallback,
    after?: Provider,
  ): AsyncGenerator<RouteStep, void, undefined> {
    const { signal } = requester;
    const failures: StreamError[] = [];
    let shown = after !== undefined;

    /** Those that are left, when all before and `upstream` have failed. */
    function giveUp(upstream: Upstream, failure: StreamError): Upstream[] {
      failures.push(failure);
      const rest = upstreams.slice(upstreams.indexOf(upstream) + 1);
      if (rest[0]) onFallback(upstream.provider, rest[0].provider, failure);
      return rest;
    }

    const first = upstreams.findIndex(({ provider }) => provider === after);
    let rest: readonly Upstream[] = upstreams.slice(Math.max(0, first));
    while (isSome(rest)) {
      let asked = rest[0];
      try {
        const { upstream, slot } = yield* acquireSlot(rest, requester, shown);
        for (const passed of rest.slice(0, rest.indexOf(upstream))) giveUp(passed, tooLong(passed));
        asked = upstream;
        const failure = failures.at(-1);
        const { provider } = asked;
        const calls: CallDelta[] = [];
        let begun = false;
        const exchange = asked.ask(slot, prompt, signal);
        try {
          for await (const delta of exchange.open()) {
            exchange.heard(delta);
            if (delta.type === 'omitted') continue;
            if (delta.type === 'thought') yield delta;
            else if (delta.type === 'tool_call') calls.push(delta);
            else {
              if (!begun) yield { type: 'attempt', provider, ...(shown && failure && { failure }) };
              begun = true;
              shown = true;
              yield delta.type === 'text' ? delta : { ...delta, provider, calls };
              if (delta.type === 'finish') return;
            }
            exchange.listen();
          }
          throw exchange.cutOff();
        } catch (error) {
          throw exchange.failure(error);
        } finally {
          await exchange.end();
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof StreamError)) throw error;
        if (isFinal(error) || (shown && onMidstreamFailure === 'fail')) throw error;
        const hasNext = asked !== upstreams.at(-1);
        if (shown && hasNext && requester.mayRestart?.(error) === false) throw error;
        rest = giveUp(asked, error);
      }
    }
    throw failures.length === 1 ? failures[0]! : allFailed(failures);
  }

  return {
    follow,
    status: () =>
      upstreams.map(({ provider: { name, model }, breaker, queue }) => ({
        name,
        model,
        breaker: breaker.state,
        running: queue.running,
        waiting: queue.waiting,
      })),
  };
}

function isSome(rest: readonly Upstream[]): rest is readonly [Upstream, ...Upstream[]] {
  return rest.length > 0;
}

/** A refusal on grounds of content is not for another provider to undo, nor a request that is wrong. */
function isFinal({ code }: StreamError): boolean {
  return code === 'content_filter' || code === 'bad_request';
}

function tooLong({ provider, deadlines }: Upstream): StreamError {
  return new StreamError(
    'overloaded',
    `unable to get an answer from ${provider.name}: no slot was free within ${deadlines.firstChunkMs} ms`,
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
