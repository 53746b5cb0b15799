import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, vi } from 'vitest';

/**
 * In each test here time goes on only when the test says so, turns of the event loop go on by
 * themselves. A test that leaves a timer behind fails.
 */
export function ownClock(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  });
  afterEach(async () => {
    // lru-cache looks at the clock once a millisecond.
    await vi.advanceTimersByTimeAsync(1);
    const left = vi.getTimerCount();
    vi.useRealTimers();
    if (left > 0) throw new Error(`${left} timers are left`);
  });
}

/** Everything has happened that needs no time. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await nextTurn();
}
