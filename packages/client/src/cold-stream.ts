import { catchError, Observable } from 'rxjs';
import type { LiveResponse } from './response.js';
import type { ResponseEvent } from './types.js';

/** What a stream needs of a response. */
export type ColdSource = Pick<LiveResponse, 'answer' | 'detach' | 'resume' | 'wasGivenUp'>;

/**
 * One response for all who subscribe: the first opens it, the last to leave detaches, and who comes
 * back within the server's grace reads on. After a failure the next subscriber opens another.
 */
export function coldStream(open: () => ColdSource): Observable<ResponseEvent> {
  let response: ColdSource | undefined;
  let subscribers = 0;

  function openNext(): ColdSource {
    response = open();
    return response;
  }

  /** The events of `current`, or of the next response if all had left that one for too long. */
  function eventsOf(current: ColdSource): Observable<ResponseEvent> {
    return current.answer.events$.pipe(
      catchError((error: unknown) => {
        if (!current.wasGivenUp) throw error;
        return (response === current || !response ? openNext() : response).answer.events$;
      }),
    );
  }

  return new Observable((subscriber) => {
    const status = response?.answer.getSnapshot().status;
    const isOver = response === undefined || status === 'failed' || status === 'cancelled';
    const current = isOver || !response ? openNext() : response;
    if (!isOver && subscribers === 0) current.resume();
    subscribers += 1;

    const subscription = eventsOf(current).subscribe(subscriber);
    return () => {
      subscription.unsubscribe();
      subscribers -= 1;
      if (subscribers === 0) response?.detach();
    };
  });
}
