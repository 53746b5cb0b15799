import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, vi } from 'vitest';

export interface WorldClock {
  /** True if the process is overloaded. Readers are then flushed less often. */
  isBusy: boolean;
  /** Time goes on, and what was to happen by then has happened. */
  pass(ms: number): void;
}

/** In each test here time goes on only when the world says so; turns of the event loop by themselves. */
export function worldClock(): WorldClock {
  let nowMs = 0;
  const clock: WorldClock = {
    isBusy: false,
    pass(ms) {
      // The timers of a busy process come late, those of an idle one when they are due.
      for (const stepMs of clock.isBusy ? [ms] : [1, ms - 1]) {
        nowMs += stepMs;
        vi.advanceTimersByTime(stepMs);
      }
    },
  };
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });
  return clock;
}
