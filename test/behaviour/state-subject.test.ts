import { take } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { createStateSubject } from '../../packages/client/src/state-subject.js';

/** The values that a subscriber receives. */
function hear<T>(value$: ReturnType<typeof createStateSubject<T>>['value$']): (T | 'complete')[] {
  const heard: (T | 'complete')[] = [];
  value$.subscribe({ next: (value) => heard.push(value), complete: () => heard.push('complete') });
  return heard;
}

describe('the latest value', () => {
  it('is told to all, to each who comes the newest first, and once', () => {
    const { value$, next, complete } = createStateSubject<number>();
    const early = hear(value$);
    next(1);
    next(1);
    const late = hear(value$);
    next(2);
    complete();
    next(3);
    expect(early).toEqual([1, 2, 'complete']);
    expect(late).toEqual([1, 2, 'complete']);
    expect(hear(value$)).toEqual([2, 'complete']);
  });

  it('misses nothing for a subscriber whose first value brings about the last', () => {
    const { value$, next, complete } = createStateSubject<number>();
    next(1);
    const heard: unknown[] = [];
    value$.subscribe({
      next(value) {
        heard.push(value);
        if (value > 1) return;
        next(2);
        complete();
      },
      complete: () => heard.push('complete'),
    });
    expect(heard).toEqual([1, 2, 'complete']);
  });

  it('is never followed by an older one, whoever brings about the next', () => {
    const { value$, next } = createStateSubject<number>();
    value$.subscribe((value) => {
      if (value === 1) next(2);
    });
    const heard = hear(value$);
    next(1);
    expect(heard).toEqual([2]);
  });

  it('is told to no one who has left, also not one who leaves on the first', () => {
    const { value$, next } = createStateSubject<number>();
    next(1);
    const heard = hear(value$.pipe(take(1)));
    next(2);
    expect(heard).toEqual([1, 'complete']);
  });
});
