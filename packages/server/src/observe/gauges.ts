import type { Meter, ObservableResult } from '@opentelemetry/api';

/** `closed`: calls go through. `open`: none does. `half-open`: one did, and its outcome decides. */
export type BreakerState = 'closed' | 'half-open' | 'open';

const BREAKER_STATES: readonly BreakerState[] = ['closed', 'half-open', 'open'];

/**
 * What is asked for when metrics are read, and costs nothing between. Whoever owns the thing registers
 * how to read it, and calls what it gets back when the thing is gone; the SDK goes on showing what it
 * read last. Names come from the code or the configuration, never from a user. Where two are registered
 * under one name, the last one counts.
 */
export interface Gauges {
  /** How many wait in a queue, now. */
  queueLength(provider: string, read: () => number): () => void;
  /** Whether a provider's circuit breaker lets requests through, now. */
  breakerState(provider: string, read: () => BreakerState): () => void;
}

export function createGauges(meter: Meter): Gauges {
  const queues = meter.createObservableGauge('llm_queue_length', {
    description: 'Requests that wait for a provider.',
  });
  const breakers = meter.createObservableGauge('llm_breaker_state', {
    description: '1 for the state that the circuit breaker is in, 0 for the others.',
  });
  return {
    queueLength(provider, read) {
      const observe = (result: ObservableResult): void => result.observe(read(), { provider });
      queues.addCallback(observe);
      return () => queues.removeCallback(observe);
    },
    breakerState(provider, read) {
      const observe = (result: ObservableResult): void => {
        const current = read();
        for (const state of BREAKER_STATES) {
          result.observe(state === current ? 1 : 0, { provider, state });
        }
      };
      breakers.addCallback(observe);
      return () => breakers.removeCallback(observe);
    },
  };
}
