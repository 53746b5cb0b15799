import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createPace, type Pace } from '../../packages/server/src/deliver/pace.js';

/** A reader that counts its flushes. */
function reader(isFresh = false) {
  const flush = vi.fn<() => void>();
  return { isFresh, flush };
}

const turn = () => new Promise<void>((resolve) => process.nextTick(resolve));

describe('pace', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => void vi.useRealTimers());

  /** Has the loop stand still for `lagMs` in each of `times` measurements. */
  function lag(pace: Pace, lagMs: number, times = 20): void {
    for (let i = 0; i < times; i++) {
      pace.soon(reader());
      const now = performance.now();
      vi.spyOn(performance, 'now').mockReturnValue(now + 1 + lagMs);
      vi.advanceTimersByTime(1);
      vi.mocked(performance.now).mockRestore();
      vi.advanceTimersByTime(200);
    }
  }

  async function waitOf(pace: Pace): Promise<number> {
    const one = reader();
    pace.soon(one);
    await turn();
    let ms = 0;
    for (; one.flush.mock.calls.length === 0; ms += 1) vi.advanceTimersByTime(1);
    return ms;
  }

  it('flushes a reader once for all that one turn of the loop appends', async () => {
    const pace = createPace();
    const one = reader();
    pace.soon(one);
    pace.soon(one);
    expect(one.flush).not.toHaveBeenCalled();
    await turn();
    expect(one.flush).toHaveBeenCalledTimes(1);
  });

  it('writes less often the further behind the loop is, and at once again when it is not', async () => {
    const pace = createPace();
    lag(pace, 3);
    expect(await waitOf(pace)).toBe(0);
    lag(pace, 20);
    expect(await waitOf(pace)).toBeCloseTo(40, -1);
    lag(pace, 1_000);
    expect(await waitOf(pace)).toBe(160);
    lag(pace, 0, 40);
    expect(await waitOf(pace)).toBe(0);
  });

  it('does not take one late timer for load', async () => {
    const pace = createPace();
    lag(pace, 12, 1);
    expect(await waitOf(pace)).toBe(0);
  });

  it('keeps nobody waiting for the first text', async () => {
    const pace = createPace();
    lag(pace, 50);
    const late = reader();
    const fresh = reader(true);
    pace.soon(late);
    pace.soon(fresh);
    await turn();
    expect(late.flush).not.toHaveBeenCalled();
    expect(fresh.flush).toHaveBeenCalledTimes(1);
  });
});
