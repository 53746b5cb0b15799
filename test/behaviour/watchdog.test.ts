import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createWatchdog } from '../../packages/client/src/connection/watchdog.js';

describe('the watchdog of a connection', () => {
  const probe = vi.fn<() => void>();
  const dead = vi.fn<() => void>();
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    vi.resetAllMocks();
  });

  it('asks for a sign of life after 10 s of quiet, and gives up after 10 more', () => {
    const watchdog = createWatchdog(probe, dead);
    watchdog.watch(true);
    vi.advanceTimersByTime(10_000);
    expect(probe).not.toHaveBeenCalled();
    vi.advanceTimersByTime(2_500);
    expect(probe).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(10_000);
    expect(dead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(2_500);
    expect(dead).toHaveBeenCalled();
  });

  it('is content with whatever comes', () => {
    const watchdog = createWatchdog(probe, dead);
    watchdog.watch(true);
    for (let i = 0; i < 20; i++) {
      vi.advanceTimersByTime(9_000);
      watchdog.heard();
    }
    expect(probe).not.toHaveBeenCalled();
    vi.advanceTimersByTime(12_500);
    watchdog.heard();
    vi.advanceTimersByTime(10_000);
    expect(probe).toHaveBeenCalledTimes(1);
    expect(dead).not.toHaveBeenCalled();
  });

  it('does not take the time that a page slept for silence', () => {
    const watchdog = createWatchdog(probe, dead);
    watchdog.watch(true);
    vi.advanceTimersByTime(12_500);
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(2_500);
    expect(probe).toHaveBeenCalledTimes(2);
    expect(dead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(5_000);
    expect(dead).toHaveBeenCalled();
  });

  it('asks at once when a page wakes up, and not at all where it must be dead', () => {
    const watchdog = createWatchdog(probe, dead);
    watchdog.heard();
    watchdog.check();
    expect(probe).toHaveBeenCalledTimes(1);
    expect(dead).not.toHaveBeenCalled();
    vi.setSystemTime(Date.now() + 60_000);
    watchdog.check();
    expect(dead).toHaveBeenCalledTimes(1);
    expect(probe).toHaveBeenCalledTimes(1);
  });

  it('leaves an idle page alone', () => {
    const watchdog = createWatchdog(probe, dead);
    watchdog.watch(true);
    watchdog.watch(false);
    vi.advanceTimersByTime(60_000);
    expect(vi.getTimerCount()).toBe(0);
    expect(probe).not.toHaveBeenCalled();
  });
});
