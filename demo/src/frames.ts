import {
  animationFrames,
  audit,
  last,
  merge,
  type Observable,
  race,
  share,
  take,
  takeUntil,
  timer,
} from 'rxjs';

const hiddenTabMs = 100;

/**
 * At most one value a frame, the first and the last at once. A hidden tab has no frames, so there
 * it goes on by a timer. `source` must replay, as `state$` does: it is subscribed to twice.
 */
export function eachFrame<T>(source: Observable<T>): Observable<T> {
  const final = source.pipe(last(), share());
  const paced = source.pipe(
    audit(() => race(animationFrames(), timer(hiddenTabMs))),
    takeUntil(final),
  );
  return merge(source.pipe(take(1)), paced, final);
}
