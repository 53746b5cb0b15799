import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Flushable, Pace } from '../../packages/server/src/deliver/pace.js';

/** A reader that counts its flushes. */
function reader(isFresh = false): Flushable & { flush: ReturnType<typeof vi.fn<() => void>> } {
  return { isFresh, isScheduled: false, flush: vi.fn<() => void>() };
}

const turn = () => new Promise<void>((resolve) => process.nextTick(resolve));

describe('pace', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => void vi.useRealTimers());

  /** Has the process measure the same load several times. */
  function load(pace: Pace, utilization: number, lagMs: number, times = 30): void {
    for (let i = 0; i < times; i++) pace.measured({ utilization, lagMs });
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
    const pace = new Pace();
    const one = reader();
    pace.soon(one);
    pace.soon(one);
    expect(one.flush).not.toHaveBeenCalled();
    await turn();
    expect(one.flush).toHaveBeenCalledTimes(1);
    pace.soon(one);
    await turn();
    expect(one.flush).toHaveBeenCalledTimes(2);
  });

  it('runs a timer only while readers send', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const pace = new Pace();
    expect(vi.getTimerCount()).toBe(0);
    pace.soon(reader());
    await turn();
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('writes at once while the process keeps up, however late one timer was', async () => {
    const pace = new Pace();
    load(pace, 0.85, 2);
    expect(await waitOf(pace)).toBe(0);
    load(pace, 0.6, 200, 1);
    expect(await waitOf(pace)).toBe(0);
    load(pace, 1, 200, 1);
    expect(await waitOf(pace)).toBe(0);
  });

  it('writes once a frame while the process is busy, and less often the longer it is late', async () => {
    const pace = new Pace();
    load(pace, 1, 1);
    expect(await waitOf(pace)).toBe(16);
    load(pace, 1, 50, 3);
    const first = await waitOf(pace);
    load(pace, 1, 50, 3);
    expect(await waitOf(pace)).toBeGreaterThan(first);
    load(pace, 1, 50);
    expect(await waitOf(pace)).toBe(160);
  });

  it('shortens the interval step by step to none when the process keeps up again', async () => {
    const pace = new Pace();
    load(pace, 1, 50);
    load(pace, 0.5, 0, 4);
    const later = await waitOf(pace);
    expect(later).toBeGreaterThan(0);
    expect(later).toBeLessThan(160);
    load(pace, 0.5, 0);
    expect(await waitOf(pace)).toBe(0);
  });

  it('keeps nobody waiting for the first text', async () => {
    const pace = new Pace();
    load(pace, 1, 50);
    const late = reader();
    const fresh = reader(true);
    pace.soon(late);
    pace.soon(fresh);
    await turn();
    expect(late.flush).not.toHaveBeenCalled();
    expect(fresh.flush).toHaveBeenCalledTimes(1);
  });
});
