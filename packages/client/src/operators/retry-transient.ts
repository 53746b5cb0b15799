import { StreamError } from '@rivulet/protocol';
import { type MonoTypeOperatorFunction, retry, throwError, timer } from 'rxjs';

/** Options of `retryTransient`. */
export interface RetryTransientOptions {
  /** The number of attempts after the first one; 3 by default. */
  count?: number | undefined;
}

const FIRST_WAIT_MS = 1_000;

/**
 * Subscribes again after a `StreamError` that is `retryable`: after its `retryAfterMs` if it has one, else
 * after 1, 2, 4, … seconds. Any other error, including `cancelled`, ends the stream at once.
 *
 * It is for `client.stream()`, which asks again when it is subscribed to again. `events$` of a handle only replays
 * its failure.
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
