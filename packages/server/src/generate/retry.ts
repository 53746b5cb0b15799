import { type Delta, ProviderError } from './providers/provider.js';

export interface RetryOptions {
  signal: AbortSignal;
  /** Milliseconds in which the first delta is to come, the first try and the wait included. */
  budgetMs: number;
}

const LEAST_WAIT_MS = 250;
/** So that many that failed together do not come back together. */
const JITTER_MS = 500;

/**
 * What `open` streams; when that fails before its first delta, and another try may help, once more
 * after a pause. A pause that would outlast the budget is not begun. Throws the last try's error, and
 * `signal.reason` at once when it aborts.
 */
export async function* withRetry(
  open: () => AsyncIterable<Delta>,
  { signal, budgetMs }: RetryOptions,
): AsyncGenerator<Delta, void, undefined> {
  const startedAt = performance.now();
  let begun = false;
  try {
    for await (const delta of open()) {
      begun = true;
      yield delta;
    }
    return;
  } catch (error) {
    const restMs = budgetMs - (performance.now() - startedAt);
    const waitMs = begun ? undefined : pauseBeforeRetry(error);
    if (signal.aborted || waitMs === undefined || waitMs >= restMs) throw error;
    await pause(waitMs, signal);
  }
  yield* open();
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
