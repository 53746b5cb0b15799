import type { Observable } from 'rxjs';

/** Yields the values in order. Values that arrive while the loop is busy are buffered. Leaving the loop unsubscribes. */
export async function* iterate<T>(source: Observable<T>): AsyncGenerator<T, void, undefined> {
  const values: T[] = [];
  let end: { error?: unknown } | undefined;
  let wake = (): void => {};
  const subscription = source.subscribe({
    next(value) {
      values.push(value);
      wake();
    },
    error(error: unknown) {
      end = { error };
      wake();
    },
    complete() {
      end = {};
      wake();
    },
  });
  try {
    for (;;) {
      yield* values.splice(0);
      if (values.length > 0) continue;
      if (end !== undefined && 'error' in end) throw end.error;
      if (end !== undefined) return;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    subscription.unsubscribe();
  }
}
