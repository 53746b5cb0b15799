import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createWatchdog } from '../../packages/client/src/connection/watchdog.js';

describe('the watchdog of a connection', () => {
  const probe = vi.fn<() => void>();
  const dead = vi.fn<() => void>();
  let unansweredBytes = 0;
  const create = (isFirst = true) =>
    createWatchdog({
      sendProbe: probe,
      onDead: dead,
      unansweredBytes: () => unansweredBytes,
      isFirstFailure: isFirst,
    });
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    vi.resetAllMocks();
    unansweredBytes = 0;
  });

  it('probes a line that is quiet for 4 s, and takes it for dead within 10 s', () => {
    const watchdog = create();
    watchdog.setEnabled(true);
    vi.advanceTimersByTime(3_000);
    expect(probe).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1_000);
    expect(probe).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(5_000);
    expect(dead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1_000);
    expect(dead).toHaveBeenCalled();
    expect(probe).toHaveBeenCalledTimes(1);
  });

  it('allows a request that is under way a second for each 1,000 bytes', () => {
    const watchdog = create();
    unansweredBytes = 120_000;
    watchdog.setEnabled(true);
    vi.advanceTimersByTime(129_000);
    expect(dead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1_000);
    expect(dead).toHaveBeenCalled();
  });

  it('allows as much more for a packet as long as those before it', () => {
    const watchdog = create();
    watchdog.setEnabled(true);
    watchdog.onPacket(4_096);
    vi.advanceTimersByTime(13_000);
    expect(dead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1_000);
    expect(dead).toHaveBeenCalled();
  });

  it('forgets a long packet when short ones follow', () => {
    const watchdog = create();
    watchdog.setEnabled(true);
    watchdog.onPacket(4_096);
    for (let i = 0; i < 12; i++) watchdog.onPacket(10);
    vi.advanceTimersByTime(10_000);
    expect(dead).toHaveBeenCalled();
  });

  it('is twice as patient after a connection that seemed dead', () => {
    const watchdog = create(false);
    watchdog.setEnabled(true);
    vi.advanceTimersByTime(18_000);
    expect(dead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1_000);
    expect(dead).toHaveBeenCalled();
  });

  it('is content with whatever comes', () => {
    const watchdog = create();
    watchdog.setEnabled(true);
    for (let i = 0; i < 20; i++) {
      vi.advanceTimersByTime(3_000);
      watchdog.onPacket(10);
    }
    expect(probe).not.toHaveBeenCalled();
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(8_000);
      watchdog.onPacket(10);
    }
    expect(probe).toHaveBeenCalledTimes(5);
    expect(dead).not.toHaveBeenCalled();
  });

  it('does not count the quiet before anything was expected', () => {
    const watchdog = create();
    vi.advanceTimersByTime(20_000);
    watchdog.setEnabled(true);
    vi.advanceTimersByTime(9_000);
    expect(dead).not.toHaveBeenCalled();
  });

  it('does not take the time that a page slept for silence', () => {
    const watchdog = create();
    watchdog.setEnabled(true);
    vi.advanceTimersByTime(5_000);
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(1_000);
    expect(probe).toHaveBeenCalledTimes(2);
    expect(dead).not.toHaveBeenCalled();
    vi.advanceTimersByTime(4_000);
    expect(dead).toHaveBeenCalled();
  });

  it('probes at once when a page wakes up, and not at all where it must be dead', () => {
    const watchdog = create();
    watchdog.onPacket(10);
    watchdog.probeNow();
    expect(probe).toHaveBeenCalledTimes(1);
    expect(dead).not.toHaveBeenCalled();
    vi.setSystemTime(Date.now() + 60_000);
    watchdog.probeNow();
    expect(dead).toHaveBeenCalledTimes(1);
    expect(probe).toHaveBeenCalledTimes(1);
  });

  it('leaves an idle page alone', () => {
    const watchdog = create();
    watchdog.setEnabled(true);
    watchdog.setEnabled(false);
    vi.advanceTimersByTime(60_000);
    expect(vi.getTimerCount()).toBe(0);
    expect(probe).not.toHaveBeenCalled();
  });
});
