import { animationFrames, catchError, NEVER, type Observable, race, timer } from 'rxjs';

// A hidden tab has no frames, and neither has a server.
const FRAMELESS_MS = 100;

/** Emits at the next animation frame, or after 100 ms where there is none. */
export function nextFrame(): Observable<unknown> {
  return race(animationFrames().pipe(catchError(() => NEVER)), timer(FRAMELESS_MS));
}
