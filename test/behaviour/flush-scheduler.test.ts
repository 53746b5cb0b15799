import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type Flushable,
  FlushScheduler,
} from '../../packages/server/src/deliver/flush-scheduler.js';

/** A reader that counts its flushes. */
function reader(isFresh = false): Flushable & { flush: ReturnType<typeof vi.fn<() => void>> } {
  return { isFresh, isScheduled: false, flush: vi.fn<() => void>() };
}

const turn = () => new Promise<void>((resolve) => process.nextTick(resolve));

describe('the flush scheduler', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => void vi.useRealTimers());

  /** Has the process measure the same load several times. */
  function load(scheduler: FlushScheduler, utilization: number, lagMs: number, times = 30): void {
    for (let i = 0; i < times; i++) scheduler.adjust({ utilization, lagMs });
  }

  async function waitOf(scheduler: FlushScheduler): Promise<number> {
    const one = reader();
    scheduler.schedule(one);
    await turn();
    let ms = 0;
    for (; one.flush.mock.calls.length === 0; ms += 1) vi.advanceTimersByTime(1);
    return ms;
  }

  it('flushes a reader once for all that one turn of the loop appends', async () => {
    const scheduler = new FlushScheduler();
    const one = reader();
    scheduler.schedule(one);
    scheduler.schedule(one);
    expect(one.flush).not.toHaveBeenCalled();
    await turn();
    expect(one.flush).toHaveBeenCalledTimes(1);
    scheduler.schedule(one);
    await turn();
    expect(one.flush).toHaveBeenCalledTimes(2);
  });

  it('runs a timer only while readers send', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const scheduler = new FlushScheduler();
    expect(vi.getTimerCount()).toBe(0);
    scheduler.schedule(reader());
    await turn();
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('writes at once while the process keeps up, however late one timer was', async () => {
    const scheduler = new FlushScheduler();
    load(scheduler, 0.85, 2);
    expect(await waitOf(scheduler)).toBe(0);
    load(scheduler, 0.6, 200, 1);
    expect(await waitOf(scheduler)).toBe(0);
    load(scheduler, 1, 200, 1);
    expect(await waitOf(scheduler)).toBe(0);
  });

  it('writes once a frame while the process is busy, and less often the longer it is late', async () => {
    const scheduler = new FlushScheduler();
    load(scheduler, 1, 1);
    expect(await waitOf(scheduler)).toBe(16);
    load(scheduler, 1, 50, 3);
    const first = await waitOf(scheduler);
    load(scheduler, 1, 50, 3);
    expect(await waitOf(scheduler)).toBeGreaterThan(first);
    load(scheduler, 1, 50);
    expect(await waitOf(scheduler)).toBe(160);
  });

  it('shortens the interval step by step to none when the process keeps up again', async () => {
    const scheduler = new FlushScheduler();
    load(scheduler, 1, 50);
    load(scheduler, 0.5, 0, 4);
    const later = await waitOf(scheduler);
    expect(later).toBeGreaterThan(0);
    expect(later).toBeLessThan(160);
    load(scheduler, 0.5, 0);
    expect(await waitOf(scheduler)).toBe(0);
  });

  it('keeps nobody waiting for the first text', async () => {
    const scheduler = new FlushScheduler();
    load(scheduler, 1, 50);
    const late = reader();
    const fresh = reader(true);
    scheduler.schedule(late);
    scheduler.schedule(fresh);
    await turn();
    expect(late.flush).not.toHaveBeenCalled();
    expect(fresh.flush).toHaveBeenCalledTimes(1);
  });
});
