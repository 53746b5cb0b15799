import { Observable, type Subscriber } from 'rxjs';
import type { Answer, ResponseEvent } from '../types.js';
import type { LiveAnswer } from './live-answer.js';

/** The parts of an answer that a cold stream uses. */
export interface ColdAnswer extends Pick<LiveAnswer, 'createHandle' | 'snapshot' | 'wasAbandoned'> {
  readonly current: ColdAnswer;
}

/**
 * All subscribers share one answer. The first subscriber starts it; the last one to unsubscribe releases or
 * cancels it. A subscriber that comes within the server's detach timeout resumes it. After a failure, the next
 * subscriber starts a new answer.
 */
export function coldStream(
  start: () => ColdAnswer,
  onUnsubscribe: 'detach' | 'cancel' = 'detach',
): Observable<ResponseEvent> {
  let answer: ColdAnswer | undefined;
  let handle: Answer | undefined;
  let subscribers = 0;

  function startNext(): Answer {
    answer = start();
    return (handle = answer.createHandle());
  }

  function currentHandle(): Answer {
    answer = answer?.current;
    const { status } = answer?.snapshot ?? {};
    if (answer === undefined || status === 'failed' || status === 'cancelled') return startNext();
    if (handle?.getSnapshot().status !== 'released') return (handle ??= answer.createHandle());
    return (handle = answer.createHandle());
  }

  /** Forwards the events of `from`, or of a new answer if the server had ended `from` for lack of readers. */
  function forward(from: Answer, subscriber: Subscriber<ResponseEvent>): void {
    const forwarded = answer;
    let isSubscribing = true;
    const subscription = from.events$.subscribe({
      next: (event) => subscriber.next(event),
      complete: () => subscriber.complete(),
      error(error: unknown) {
        if (forwarded?.wasAbandoned === true)
          forward(answer === forwarded ? startNext() : currentHandle(), subscriber);
        else if (!isSubscribing) subscriber.error(error);
        else {
          // Delayed, because `retry()` subscribes synchronously and would recurse without end.
          const timer = setTimeout(() => subscriber.error(error));
          subscriber.add(() => clearTimeout(timer));
        }
      },
    });
    isSubscribing = false;
    subscriber.add(subscription);
  }

  return new Observable((subscriber) => {
    const joined = currentHandle();
    subscribers += 1;
    forward(joined, subscriber);
    return () => {
      subscribers -= 1;
      if (subscribers > 0) return;
      if (onUnsubscribe === 'cancel') handle?.cancel();
      else handle?.release();
    };
  });
}
