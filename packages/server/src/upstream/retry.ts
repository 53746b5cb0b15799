import { type Delta, ProviderError } from '../providers/provider.js';

export interface RetryOptions {
  signal: AbortSignal;
  /** Milliseconds in which the first delta is to come, the first try and the wait included. */
  budgetMs: number;
  /** The first try failed with `error`, and there will be another. */
  onRetry(error: unknown): void;
}

const LEAST_WAIT_MS = 250;
/** So that many that failed together do not come back together. */
const JITTER_MS = 500;

/**
 * What `open` streams; when that fails before its first delta, and another try may help, once more
 * after a pause. A pause that would outlast the budget is not begun. Throws the last try's error, and
 * `signal.reason` at once when it aborts.
 */
export function withRetry(
  open: () => AsyncIterable<Delta>,
  { signal, budgetMs, onRetry }: RetryOptions,
): AsyncIterable<Delta> {
  let deltas: AsyncIterator<Delta> | undefined;

  function begin(): Promise<IteratorResult<Delta>> {
    deltas = open()[Symbol.asyncIterator]();
    return deltas.next();
  }

  async function beginWithRetry(): Promise<IteratorResult<Delta>> {
    const startedAt = performance.now();
    try {
      return await begin();
    } catch (error) {
      const restMs = budgetMs - (performance.now() - startedAt);
      const waitMs = pauseBeforeRetry(error);
      if (signal.aborted || waitMs === undefined || waitMs >= restMs) throw error;
      onRetry(error);
      await pause(waitMs, signal);
    }
    return begin();
  }

  // Not a generator: only the first delta is its business, and it would make each of them wait.
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => deltas?.next() ?? beginWithRetry(),
      async return() {
        await deltas?.return?.();
        return { done: true, value: undefined };
      },
    }),
  };
}

/** Undefined where another try would end as the first did. */
function pauseBeforeRetry(error: unknown): number | undefined {
  if (!(error instanceof ProviderError)) return undefined;
  if (error.failure !== 'unavailable' && error.failure !== 'busy') return undefined;
  return (error.retryAfterMs ?? LEAST_WAIT_MS) + Math.random() * JITTER_MS;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
