import { type MonoTypeOperatorFunction, Observable } from 'rxjs';
import { nextFrame } from './next-frame.js';

/**
 * At most one value for each animation frame, the newest; every 100 ms in a tab that is hidden. The
 * first comes at once, and so does the end: what is held back goes out before it.
 */
export function perFrame<T>(): MonoTypeOperatorFunction<T> {
  return (source) =>
    new Observable((subscriber) => {
      let held: { value: T } | undefined;
      let isWaiting = false;

      function emit(value: T): void {
        isWaiting = true;
        // Before the value is out: who takes it may cause the next one.
        subscriber.add(nextFrame(release));
        subscriber.next(value);
      }

      function release(): void {
        isWaiting = false;
        flush(emit);
      }

      function flush(out: (value: T) => void): void {
        const last = held;
        held = undefined;
        if (last !== undefined) out(last.value);
      }

      const flushNow = (): void => flush((value) => subscriber.next(value));

      subscriber.add(
        source.subscribe({
          next(value) {
            if (isWaiting) held = { value };
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
        }),
      );
    });
}
