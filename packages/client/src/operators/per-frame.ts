import { type MonoTypeOperatorFunction, Observable } from 'rxjs';
import { nextFrame } from './next-frame.js';

/**
 * Emits at most one value for each animation frame, the newest; in a hidden tab, one every 100 ms. The first
 * value and the end are not delayed. A value that is still held back is emitted before the end.
 */
export function perFrame<T>(): MonoTypeOperatorFunction<T> {
  return (source) =>
    new Observable((subscriber) => {
      let pending: { value: T } | undefined;
      let isWaiting = false;

      function emit(value: T): void {
        isWaiting = true;
        // Scheduled before `next`, because the subscriber may cause the next value synchronously.
        subscriber.add(nextFrame(release));
        subscriber.next(value);
      }

      function release(): void {
        isWaiting = false;
        flush(emit);
      }

      function flush(emitPending: (value: T) => void): void {
        const last = pending;
        pending = undefined;
        if (last !== undefined) emitPending(last.value);
      }

      const flushNow = (): void => flush((value) => subscriber.next(value));

      const stoppable = new Observable<T>((inner) => {
        // Added before a synchronous source emits, so that unsubscribing stops it.
        subscriber.add(inner);
        source.subscribe(inner);
      });
      stoppable.subscribe({
        next(value) {
          if (isWaiting) pending = { value };
          else emit(value);
        },
        error(error: unknown) {
          flushNow();
          subscriber.error(error);
        },
        complete() {
          flushNow();
          subscriber.complete();
        },
      });
    });
}
