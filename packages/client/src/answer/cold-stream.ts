import { Observable, type Subscriber } from 'rxjs';
import type { LiveResponse } from './live-answer.js';
import type { ResponseEvent } from '../types.js';

/** What a stream needs of a response. */
export type ColdSource = Pick<LiveResponse, 'answer' | 'release' | 'resume' | 'wasGivenUp'>;

/**
 * One response for all who subscribe: the first opens it, the last to leave releases, and who comes
 * back within the server's grace reads on. After a failure the next subscriber opens another.
 */
export function coldStream(open: () => ColdSource): Observable<ResponseEvent> {
  let response: ColdSource | undefined;
  let subscribers = 0;

  function openNext(): ColdSource {
    response = open();
    return response;
  }

  /** Gives the events of `current`, or of the next response if all had left that one for too long. */
  function tell(current: ColdSource, subscriber: Subscriber<ResponseEvent>): void {
    const subscription = current.answer.events$.subscribe({
      next: (event) => subscriber.next(event),
      complete: () => subscriber.complete(),
      error(error: unknown) {
        if (!current.wasGivenUp) return subscriber.error(error);
        tell(response === current || !response ? openNext() : response, subscriber);
      },
    });
    subscriber.add(subscription);
  }

  return new Observable((subscriber) => {
    const status = response?.answer.getSnapshot().status;
    const isOver = response === undefined || status === 'failed' || status === 'cancelled';
    const current = isOver || !response ? openNext() : response;
    if (!isOver && subscribers === 0) current.resume();
    subscribers += 1;

    tell(current, subscriber);
    return () => {
      subscribers -= 1;
      if (subscribers === 0) response?.release();
    };
  });
}
