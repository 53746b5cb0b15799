import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createPace } from '../../packages/server/src/deliver/pace.js';

/** A reader that counts its flushes. */
function reader(isFresh = false) {
  const flush = vi.fn<() => void>();
  return { isFresh, flush };
}

const turn = () => new Promise<void>((resolve) => process.nextTick(resolve));

describe('pace', () => {
  let busy = 0;
  beforeEach(() => {
    busy = 0;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => void vi.useRealTimers());

  it('flushes a reader once for all that one turn of the loop appends', async () => {
    const pace = createPace(() => busy);
    const one = reader();
    pace.soon(one);
    pace.soon(one);
    expect(one.flush).not.toHaveBeenCalled();
    await turn();
    expect(one.flush).toHaveBeenCalledTimes(1);
  });

  it('writes less often the longer the loop is busy, and at once again when it is not', async () => {
    const pace = createPace(() => busy);
    busy = 1;
    const waited: number[] = [];
    for (let i = 0; i < 8; i++) {
      vi.advanceTimersByTime(100);
      const one = reader();
      pace.soon(one);
      await turn();
      let ms = 0;
      for (; one.flush.mock.calls.length === 0; ms += 5) vi.advanceTimersByTime(5);
      waited.push(ms);
    }
    expect(waited).toEqual([10, 20, 40, 80, 160, 160, 160, 160]);
    busy = 0;
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(200);
      pace.soon(reader());
    }
    const one = reader();
    pace.soon(one);
    await turn();
    expect(one.flush).toHaveBeenCalledTimes(1);
  });

  it('keeps nobody waiting for the first text', async () => {
    const pace = createPace(() => 1);
    vi.advanceTimersByTime(100);
    const late = reader();
    const fresh = reader(true);
    pace.soon(late);
    pace.soon(fresh);
    await turn();
    expect(late.flush).not.toHaveBeenCalled();
    expect(fresh.flush).toHaveBeenCalledTimes(1);
  });
});
