import { StreamError } from '@rivulet/protocol';
import { catchError, Observable } from 'rxjs';
import type { LiveResponse } from './response.js';
import type { ResponseEvent } from './types.js';

/**
 * One response for all who subscribe: the first opens it, the last to leave detaches, and who comes
 * back within the server's grace reads on. After a failure the next subscriber opens another.
 */
export function coldStream(open: () => LiveResponse): Observable<ResponseEvent> {
  let response: LiveResponse | undefined;
  let subscribers = 0;
  let wasLeft = false;

  function openNext(): LiveResponse {
    wasLeft = false;
    response = open();
    return response;
  }

  /** The events of `current`, or of another response if it is gone because all had left it for too long. */
  function eventsOf(current: LiveResponse): Observable<ResponseEvent> {
    return current.answer.events$.pipe(
      catchError((error: unknown) => {
        if (!wasLeft || !isGone(error)) throw error;
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
      if (subscribers > 0) return;
      wasLeft = true;
      response?.detach();
    };
  });
}

function isGone(error: unknown): boolean {
  return (
    error instanceof StreamError && (error.code === 'cancelled' || error.code === 'producer_lost')
  );
}
