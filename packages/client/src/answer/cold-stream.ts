import { Observable, type Subscriber } from 'rxjs';
import type { Answer, ResponseEvent } from '../types.js';
import type { LiveAnswer } from './live-answer.js';

/** The parts of an answer that a stream uses. */
export interface ColdSource extends Pick<LiveAnswer, 'lease' | 'snapshot' | 'wasGivenUp'> {
  readonly current: ColdSource;
}

/**
 * One answer for all who subscribe: the first asks, the last to leave releases or cancels, and who comes
 * back within the server's grace reads on. After a failure the next subscriber asks again.
 */
export function coldStream(
  ask: () => ColdSource,
  onUnsubscribe: 'detach' | 'cancel' = 'detach',
): Observable<ResponseEvent> {
  let source: ColdSource | undefined;
  let handle: Answer | undefined;
  let subscribers = 0;

  function askNext(): Answer {
    source = ask();
    return (handle = source.lease());
  }

  function join(): Answer {
    source = source?.current;
    const { status } = source?.snapshot ?? {};
    if (source === undefined || status === 'failed' || status === 'cancelled') return askNext();
    if (handle?.getSnapshot().status !== 'released') return (handle ??= source.lease());
    return (handle = source.lease());
  }

  /** Gives the events of `answer`, or of the next one if all had left it for too long. */
  function tell(answer: Answer, subscriber: Subscriber<ResponseEvent>): void {
    const told = source;
    let isSubscribing = true;
    const subscription = answer.events$.subscribe({
      next: (event) => subscriber.next(event),
      complete: () => subscriber.complete(),
      error(error: unknown) {
        if (told?.wasGivenUp === true) tell(source === told ? askNext() : join(), subscriber);
        else if (!isSubscribing) subscriber.error(error);
        else {
          // `retry()` subscribes again from within an error, and so without an end.
          const timer = setTimeout(() => subscriber.error(error));
          subscriber.add(() => clearTimeout(timer));
        }
      },
    });
    isSubscribing = false;
    subscriber.add(subscription);
  }

  return new Observable((subscriber) => {
    const answer = join();
    subscribers += 1;
    tell(answer, subscriber);
    return () => {
      subscribers -= 1;
      if (subscribers > 0) return;
      if (onUnsubscribe === 'cancel') handle?.cancel();
      else handle?.release();
    };
  });
}
