import type { BreakerState } from '../observe/gauges.js';
import { type Breaker, createBreaker } from './breaker.js';
import type { Deadlines } from './deadline.js';
import { Exchange, type ExchangeEvents } from './exchange.js';
import type { Prompt, Provider } from '../providers/provider.js';
import { createQueue, type Queue, type Slot } from './queue.js';

/** A provider, and how it is to be used. */
export interface ProviderConfig {
  provider: Provider;
  deadlines: Deadlines;
  /** Answers that it gives at a time, further requests wait; no bound unless given. */
  concurrency?: number;
  /** Whether a failure before the first text may be worth one more try. */
  retries?: boolean;
}

/** What an operator should know of. */
export interface UpstreamEvents extends ExchangeEvents {
  onBreakerChange(provider: Provider, state: BreakerState): void;
}

/** A candidate with what all requests to it share. */
export interface Upstream {
  readonly provider: Provider;
  readonly deadlines: Deadlines;
  readonly queue: Queue;
  readonly breaker: Breaker;
  /** Prepares a call. `slot` is released when the exchange ends. */
  ask(slot: Slot, prompt: Prompt, signal: AbortSignal): Exchange;
}

export function createUpstream(
  { provider, deadlines, concurrency = Infinity, retries = false }: ProviderConfig,
  maxQueued: number,
  events: UpstreamEvents,
): Upstream {
  const { name } = provider;
  const breaker = createBreaker(name, (state) => events.onBreakerChange(provider, state));

  return {
    provider,
    deadlines,
    queue: createQueue({ name, concurrency, maxQueued }),
    breaker,
    ask: (slot, prompt, signal) =>
      new Exchange({ provider, deadlines, retries, breaker, slot, prompt, signal }, events),
  };
}
