import { Observable, type Subscriber } from 'rxjs';

/** A value that changes until it is complete. */
export interface StateSubject<T> {
  /** The newest value at once if there is one, then each change; also after it is complete. */
  readonly value$: Observable<T>;
  /** Nothing is told when it is the same as before. */
  next(value: T): void;
  complete(): void;
}

/**
 * A BehaviorSubject that has completed gives its value to nobody, and a ReplaySubject is ten times this
 * to a page that has to load it.
 */
export function createStateSubject<T>(): StateSubject<T> {
  /** Replaced at each change: who subscribes or leaves while a value is told changes nothing of it. */
  let subscribers: readonly Subscriber<T>[] = [];
  let current: { value: T } | undefined;
  let isComplete = false;

  return {
    value$: new Observable((subscriber) => {
      // Before the first value is told, which may bring about the next.
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
        // One of them may have brought about a newer value, which all have been told by then.
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
