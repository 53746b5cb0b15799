import { StreamError } from '@rivulet/protocol';
import {
  circuitBreaker,
  CircuitState,
  CountBreaker,
  handleType,
  type IBackoff,
  type IHalfOpenAfterBackoffContext,
} from 'cockatiel';
import type { BreakerState } from '../observe/gauges.js';

/** One call that went through. What is said of it after its outcome does nothing. */
export interface Permit {
  /** Whether the breaker waits for this call's outcome. */
  readonly isProbe: boolean;
  /** Something came. For a probe that is success: the others need not wait until it has ended. */
  answered(): void;
  succeeded(): void;
  failed(failure: StreamError): void;
  /** Given up by its caller, which says nothing about the provider. */
  abandoned(): void;
}

/** Keeps calls from a provider that is dead, so that it costs them nothing. */
export interface Breaker {
  readonly state: BreakerState;
  /** Why no call goes through now, and when one may; undefined when one may. */
  refusal(): StreamError | undefined;
  /** Lets a call through, or throws the refusal. */
  acquirePermit(): Permit;
}

// By the last calls and not by time, as cockatiel's SamplingBreaker has it: that one forgets a window
// only when the next call comes, so on a quiet server yesterday's failures would open it today.
const SAMPLE = { size: 20, minimumNumberOfCalls: 5, threshold: 0.5 };
const FIRST_REST_MS = 5_000;
const LONGEST_REST_MS = 60_000;
/** A provider may ask for more, up to this; then it is at least looked at. */
const LONGEST_ASKED_MS = 300_000;
/** When to come back while a probe is under way. */
const PROBE_MS = 1_000;

const STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Isolated]: 'open',
};

/** What the circuit counts. */
class Failed extends Error {
  readonly restAtLeastMs: number;

  constructor({ retryAfterMs = 0 }: StreamError) {
    super();
    this.restAtLeastMs = Math.min(LONGEST_ASKED_MS, retryAfterMs);
  }
}

/** A probe that was given up: nothing is known, and the next call is a probe again. */
class Undecided extends Error {}

/** `onChange` is told of each new state. */
export function createBreaker(name: string, onChange: (state: BreakerState) => void): Breaker {
  let openUntilMs = 0;
  let lastFailure: StreamError | undefined;

  const circuit = circuitBreaker(handleType(Failed).orType(Undecided), {
    breaker: new CountBreaker(SAMPLE),
    halfOpenAfter: { next: rest },
  });
  circuit.onStateChange((state) => onChange(STATES[state]));

  /** Twice as long after each probe that failed. */
  function rest({ attempt, result }: IHalfOpenAfterBackoffContext): Rest {
    const error = 'error' in result ? result.error : undefined;
    const growingMs = Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** (attempt - 1));
    const askedMs = error instanceof Failed ? error.restAtLeastMs : 0;
    const duration = error instanceof Undecided ? 0 : Math.max(growingMs, askedMs);
    openUntilMs = Date.now() + duration;
    return { duration, next: rest };
  }

  function isShut(): boolean {
    // In this state cockatiel would have a call wait until the probe has ended.
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
    acquirePermit() {
      if (isShut()) throw refusal();
      let end: Ending | undefined;
      // Cockatiel wraps a promise, and an answer is an iterator: so a promise that ends as it does. It
      // is made before `execute` returns, unless the circuit is open.
      const run = circuit.execute(() => {
        return new Promise<void>((resolve, reject) => (end = { resolve, reject }));
      });
      run.catch(() => {});
      if (end === undefined) throw refusal();
      const { resolve, reject }: Ending = end;
      const isProbe = circuit.state === CircuitState.HalfOpen;
      return {
        isProbe,
        answered() {
          if (isProbe) resolve();
        },
        succeeded: resolve,
        failed(failure) {
          lastFailure = failure;
          reject(new Failed(failure));
        },
        // Cockatiel closes the circuit on a probe's error that it does not count, so this one counts.
        abandoned: () => reject(isProbe ? new Undecided() : new Error('abandoned')),
      };
    },
  };
}

type Rest = IBackoff<IHalfOpenAfterBackoffContext>;

interface Ending {
  resolve(): void;
  reject(error: Error): void;
}
