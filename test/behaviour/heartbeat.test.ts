import { expect, it, vi } from 'vitest';
import type { RedisContext } from '../../packages/server/src/deliver/redis/context.js';
import { Heartbeat } from '../../packages/server/src/deliver/redis/heartbeat.js';

it('a heartbeat is sent while the listener of an earlier one still works', async () => {
  const write = vi.fn<() => Promise<unknown>>(async () => [0, [], [], 10_000]);
  const store = { isConnected: true, write, checkMemory: async () => {}, noteBeat() {} };
  const context = { node: 'n', store, limits: {} } as unknown as RedisContext;
  const ends: (() => void)[] = [];
  const onBeat = vi.fn<() => Promise<void>>(
    () => new Promise((resolve) => void ends.push(resolve)),
  );
  const heartbeat = new Heartbeat(context, { onBeat });
  for (let i = 0; i < 3; i++) expect(await heartbeat.beat()).toBe(true);
  expect(write).toHaveBeenCalledTimes(3);
  expect(onBeat).toHaveBeenCalledTimes(1);
  ends[0]!();
  await vi.waitFor(async () => {
    await heartbeat.beat();
    expect(onBeat).toHaveBeenCalledTimes(2);
  });
});
