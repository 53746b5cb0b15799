import { StreamError } from '@rivulet/protocol';
import {
  circuitBreaker,
  CircuitState,
  CountBreaker,
  handleType,
  type IBackoff,
  type IHalfOpenAfterBackoffContext,
} from 'cockatiel';
import { LRUCache } from 'lru-cache';
import type { BreakerState } from '../observe/gauges.js';

/** The permit of one call. Only the first reported outcome counts. */
export interface Permit {
  /** True if the breaker waits for the outcome of this call. */
  readonly isProbe: boolean;
  /**
   * The provider has sent data. A probe counts as successful then, so that other calls need not wait for its
   * end.
   */
  answered(): void;
  succeeded(): void;
  failed(failure: StreamError): void;
  /**
   * The provider did not answer in time. The question may be the reason, so it counts as a failure only if another
   * principal's newest call timed out, too, or no other principal has called lately.
   */
  timedOut(failure: StreamError): void;
  /** The caller stopped the call, so the outcome says nothing about the provider. */
  abandoned(): void;
}

/** A circuit breaker: refuses calls of a provider that keeps failing, so that they do not wait for it. */
export interface Breaker {
  readonly state: BreakerState;
  /**
   * @returns the error for a call while the circuit is open, with the time of the next probe; undefined if a
   * call may go through.
   */
  refusal(): StreamError | undefined;
  /**
   * Lets a call through. `principal` is a symbol if it is not known.
   *
   * @throws {StreamError} the refusal.
   */
  acquirePermit(principal: string | symbol): Permit;
}

// Counts calls and not time. cockatiel's SamplingBreaker clears its window only at the next call, so on an
// idle server the failures of yesterday would open the circuit today.
const SAMPLE = { size: 20, minimumNumberOfCalls: 5, threshold: 0.5 };
/** The principals whose newest outcome is remembered, and the milliseconds for which it is. */
const RECENT_PRINCIPALS = { max: 100, ttl: 600_000 };
const FIRST_OPEN_MS = 5_000;
const MAX_OPEN_MS = 60_000;
/** The limit of a provider's `Retry-After`. A probe follows after this time at the latest. */
const MAX_RETRY_AFTER_MS = 300_000;
/** The suggested wait while a probe is in progress. */
const PROBE_MS = 1_000;

const STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Isolated]: 'open',
};

/** A failure that the circuit counts. */
class CountedFailure extends Error {
  readonly minOpenMs: number;

  constructor({ retryAfterMs = 0 }: StreamError) {
    super();
    this.minOpenMs = Math.min(MAX_RETRY_AFTER_MS, retryAfterMs);
  }
}

/** A probe without an outcome: the next call is a probe again. */
class AbandonedProbe extends Error {}

/** Creates the breaker of a provider. Calls `onChange` with each new state. */
export function createBreaker(name: string, onChange: (state: BreakerState) => void): Breaker {
  let openUntilMs = 0;
  let lastFailure: StreamError | undefined;
  const recent = new LRUCache<string, 'answered' | 'timed out'>(RECENT_PRINCIPALS);

  const circuit = circuitBreaker(handleType(CountedFailure).orType(AbandonedProbe), {
    breaker: new CountBreaker(SAMPLE),
    halfOpenAfter: { next: nextOpenTime },
  });
  circuit.onStateChange((state) => onChange(STATES[state]));

  /** The open time doubles after each failed probe. */
  function nextOpenTime({ attempt, result }: IHalfOpenAfterBackoffContext): OpenTime {
    const error = 'error' in result ? result.error : undefined;
    const growingMs = Math.min(MAX_OPEN_MS, FIRST_OPEN_MS * 2 ** (attempt - 1));
    const askedMs = error instanceof CountedFailure ? error.minOpenMs : 0;
    const duration = error instanceof AbandonedProbe ? 0 : Math.max(growingMs, askedMs);
    openUntilMs = Date.now() + duration;
    return { duration, next: nextOpenTime };
  }

  function note(principal: string | symbol, outcome: 'answered' | 'timed out'): void {
    if (typeof principal === 'string') recent.set(principal, outcome);
  }

  /** @returns true if others have no better experience with the provider than the principal. */
  function isProvidersFault(principal: string | symbol): boolean {
    if (typeof principal === 'symbol') return true;
    const others = [...recent.entries()].filter(([other]) => other !== principal);
    return others.length === 0 || others.some(([, outcome]) => outcome === 'timed out');
  }

  function isShut(): boolean {
    // In this state, cockatiel would make a call wait until the probe has ended.
    if (circuit.state === CircuitState.HalfOpen) return true;
    return circuit.state === CircuitState.Open && Date.now() < openUntilMs;
  }

  function refusal(): StreamError {
    const retryAfterMs = Math.max(PROBE_MS, openUntilMs - Date.now());
    const last = lastFailure === undefined ? '' : `; the last time: ${lastFailure.message}`;
    return new StreamError(
      'provider_unavailable',
      `unable to get an answer from ${name}: it kept failing and is left alone for ` +
        `${Math.ceil(retryAfterMs / 1000)} s${last}`,
      { retryAfterMs, cause: lastFailure },
    );
  }

  return {
    get state() {
      return STATES[circuit.state];
    },
    refusal: () => (isShut() ? refusal() : undefined),
    acquirePermit(principal) {
      if (isShut()) throw refusal();
      let end: Settle | undefined;
      // Cockatiel wraps a promise, but an answer is an iterator. This promise settles with the answer. It
      // exists before `execute` returns, unless the circuit is open.
      const run = circuit.execute(() => {
        return new Promise<void>((resolve, reject) => (end = { resolve, reject }));
      });
      run.catch(() => {});
      if (end === undefined) throw refusal();
      const { resolve, reject }: Settle = end;
      const isProbe = circuit.state === CircuitState.HalfOpen;
      const failed = (failure: StreamError): void => {
        lastFailure = failure;
        reject(new CountedFailure(failure));
      };
      // Cockatiel would close the circuit after an uncounted error of a probe, so this error is counted.
      const abandoned = (): void => reject(isProbe ? new AbandonedProbe() : new Error('abandoned'));
      return {
        isProbe,
        answered() {
          if (isProbe) resolve();
        },
        succeeded() {
          note(principal, 'answered');
          resolve();
        },
        failed,
        timedOut(failure) {
          note(principal, 'timed out');
          if (isProvidersFault(principal)) failed(failure);
          else abandoned();
        },
        abandoned,
      };
    },
  };
}

type OpenTime = IBackoff<IHalfOpenAfterBackoffContext>;

interface Settle {
  resolve(): void;
  reject(error: Error): void;
}
