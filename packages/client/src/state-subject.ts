import { Observable, type Subscriber } from 'rxjs';

/** A value that changes until it is complete. */
export interface StateSubject<T> {
  /** The newest value at once if there is one, then each change; also after it is complete. */
  readonly value$: Observable<T>;
  /** Has no effect if the value is the same as before. */
  next(value: T): void;
  complete(): void;
}

/**
 * Creates a subject that replays its newest value, also after completion. A BehaviorSubject does not replay after
 * completion, and a ReplaySubject is ten times this size.
 */
export function createStateSubject<T>(): StateSubject<T> {
  /** Replaced at each change, so that a change during an emission does not affect that emission. */
  let subscribers: readonly Subscriber<T>[] = [];
  let current: { value: T } | undefined;
  let isComplete = false;

  return {
    value$: new Observable((subscriber) => {
      // Added before the first emission, because the subscriber may cause the next one.
      if (!isComplete) subscribers = [...subscribers, subscriber];
      if (current !== undefined) subscriber.next(current.value);
      if (isComplete) subscriber.complete();
      return () => {
        subscribers = subscribers.filter((other) => other !== subscriber);
      };
    }),
    next(value) {
      if (current?.value === value || isComplete) return;
      const emitted = { value };
      current = emitted;
      for (const subscriber of subscribers) {
        // A subscriber may have caused a newer value, which all have received by then.
        if (current === emitted) subscriber.next(value);
      }
    },
    complete() {
      isComplete = true;
      const completed = subscribers;
      subscribers = [];
      for (const subscriber of completed) subscriber.complete();
    },
  };
}
