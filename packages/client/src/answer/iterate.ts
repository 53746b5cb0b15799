import type { Observable } from 'rxjs';

/** An Observable's values in order; what comes while the loop is busy waits. Leaving the loop unsubscribes. */
export async function* iterate<T>(source: Observable<T>): AsyncGenerator<T, void, undefined> {
  const values: T[] = [];
  let ended: { error?: unknown } | undefined;
  let wake = (): void => {};
  const subscription = source.subscribe({
    next(value) {
      values.push(value);
      wake();
    },
    error(error: unknown) {
      ended = { error };
      wake();
    },
    complete() {
      ended = {};
      wake();
    },
  });
  try {
    for (;;) {
      yield* values.splice(0);
      if (values.length > 0) continue;
      if (ended !== undefined && 'error' in ended) throw ended.error;
      if (ended !== undefined) return;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    subscription.unsubscribe();
  }
}
