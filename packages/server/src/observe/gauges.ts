import type { Meter, ObservableResult } from '@opentelemetry/api';

/**
 * `closed`: calls go through. `open`: calls are refused. `half-open`: one probe went through, and its outcome
 * decides.
 */
export type BreakerState = 'closed' | 'half-open' | 'open';

const BREAKER_STATES: readonly BreakerState[] = ['closed', 'half-open', 'open'];

/**
 * Observable gauges: values that are read only when metrics are collected. The owner of a value registers a
 * function that reads it, and calls the returned function to remove it. The SDK keeps showing the last value.
 * Names come from the code or the configuration, never from a user. A later registration with the same name
 * replaces the earlier one.
 */
export interface Gauges {
  /** Registers the number of requests that wait in a queue. */
  queueLength(provider: string, read: () => number): () => void;
  /** Registers the state of a provider's circuit breaker. */
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
