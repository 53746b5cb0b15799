import { setImmediate as nextTurn } from 'node:timers/promises';
import { StreamError } from '@rivulet/protocol';
import type { BreakerState } from '../observe/gauges.js';
import { type Breaker, createBreaker } from './breaker.js';
import { type Deadlines, withDeadlines } from './deadline.js';
import { type Delta, type Prompt, type Provider, ProviderError } from './providers/provider.js';
import { createQueue, type Place, type Queue } from './queue.js';
import { withRetry } from './retry.js';

/** A provider, and how it is to be used. */
export interface Candidate {
  provider: Provider;
  deadlines: Deadlines;
  /** Answers that it gives at a time, further requests wait; no bound unless given. */
  parallelism?: number;
  /** Whether a failure before the first text may be worth one more try. */
  retries?: boolean;
}

/** What an operator should know of. */
export interface UpstreamEvents {
  /** The provider refuses because of how it was set up: its key, its model. */
  onMisconfigured(provider: Provider, error: ProviderError): void;
  onBreakerChange(provider: Provider, state: BreakerState): void;
}

/** A candidate with what all requests to it share. */
export interface Upstream {
  readonly provider: Provider;
  readonly deadlines: Deadlines;
  readonly queue: Queue;
  readonly breaker: Breaker;
  /**
   * One answer, up to its `finish`, within the deadlines; `place` is given up at its end. Throws a
   * `StreamError`, and `signal.reason` when it aborts.
   */
  ask(place: Place, prompt: Prompt, signal: AbortSignal): AsyncGenerator<Delta, void, undefined>;
}

export function createUpstream(
  { provider, deadlines, parallelism = Infinity, retries = false }: Candidate,
  maxQueued: number,
  { onMisconfigured, onBreakerChange }: UpstreamEvents,
): Upstream {
  const { name } = provider;
  const breaker = createBreaker(name, (state) => onBreakerChange(provider, state));

  async function* ask(
    place: Place,
    prompt: Prompt,
    signal: AbortSignal,
  ): AsyncGenerator<Delta, void, undefined> {
    try {
      const passage = breaker.enter();
      try {
        const budgetMs = deadlines.firstChunkMs;
        const open = (within: AbortSignal): AsyncIterable<Delta> => {
          const stream = () => provider.stream(prompt, within);
          return retries && !passage.isProbe
            ? withRetry(stream, { signal: within, budgetMs })
            : stream();
        };
        for await (const delta of withDeadlines(open, { name, signal, deadlines })) {
          passage.answered();
          if (delta.type === 'finish') passage.succeeded();
          yield delta;
          if (delta.type === 'finish') return;
        }
        throw truncated(provider);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof ProviderError && error.failure === 'misconfigured')
          onMisconfigured(provider, error);
        const failure = asStreamError(error, provider);
        if (isProvidersFault(failure)) passage.failed(failure);
        else if (failure.code !== 'internal') passage.succeeded();
        throw failure;
      } finally {
        passage.abandoned();
      }
    } finally {
      // Fetch has the connection ready a turn later; a request that came at once would open another.
      await nextTurn();
      place.leave();
    }
  }

  return {
    provider,
    deadlines,
    queue: createQueue({ name, parallelism, maxQueued }),
    breaker,
    ask,
  };
}

/**
 * Whether others would fare no better. A wrong key counts as well: it is wrong for everybody until
 * somebody mends it, which a probe finds out.
 */
function isProvidersFault({ code }: StreamError): boolean {
  return (
    code === 'provider_unavailable' ||
    code === 'provider_timeout' ||
    code === 'stalled' ||
    code === 'truncated'
  );
}

function truncated({ name }: Provider): ProviderError {
  return new ProviderError(
    'truncated',
    `unable to finish the answer: ${name} stopped without an end`,
  );
}

function asStreamError(error: unknown, provider: Provider): StreamError {
  if (error instanceof StreamError) return error;
  if (error instanceof ProviderError) {
    return new StreamError(codeOf(error), error.message, {
      retryAfterMs: error.retryAfterMs,
      cause: error,
    });
  }
  return new StreamError('internal', `unable to use ${provider.name}: the server failed`, {
    cause: error,
  });
}

function codeOf({ failure }: ProviderError): StreamError['code'] {
  switch (failure) {
    case 'bad_request':
    case 'blocked':
    case 'truncated':
      return failure;
    case 'unavailable':
    case 'busy':
    case 'misconfigured':
      return 'provider_unavailable';
  }
}
