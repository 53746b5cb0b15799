import { Observable, type Subscriber } from 'rxjs';
import type { LiveResponse } from './response.js';
import type { ResponseEvent } from './types.js';

/**
 * One response for all who subscribe: the first opens it, the last to leave detaches, and who comes
 * back within the server's grace reads on. After a failure the next subscriber opens another.
 */
export function coldStream(open: () => LiveResponse): Observable<ResponseEvent> {
  let response: LiveResponse | undefined;
  let subscribers = 0;

  function openNext(): LiveResponse {
    response = open();
    return response;
  }

  /** Gives the events of `current`, or of the next response if all had left that one for too long. */
  function tell(current: LiveResponse, subscriber: Subscriber<ResponseEvent>): void {
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
      if (subscribers === 0) response?.detach();
    };
  });
}
