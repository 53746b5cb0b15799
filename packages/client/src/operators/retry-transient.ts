import { StreamError } from '@rivulet/protocol';
import { type MonoTypeOperatorFunction, retry, throwError, timer } from 'rxjs';

/** How `retryTransient` retries. */
export interface RetryTransientOptions {
  /** Attempts after the first; 3 unless given. */
  count?: number | undefined;
}

const FIRST_WAIT_MS = 1_000;

/**
 * Subscribes again after a `StreamError` that is `retryable`: after its `retryAfterMs`, or after 1, 2, 4, …
 * seconds where it has none. Any other error ends the stream at once, `cancelled` among them.
 */
export function retryTransient<T>({
  count = 3,
}: RetryTransientOptions = {}): MonoTypeOperatorFunction<T> {
  return retry({
    count,
    delay(error: unknown, attempt) {
      const isTransient =
        error instanceof StreamError && error.retryable && error.code !== 'cancelled';
      if (!isTransient) return throwError(() => error);
      return timer(error.retryAfterMs ?? FIRST_WAIT_MS * 2 ** (attempt - 1));
    },
  });
}
