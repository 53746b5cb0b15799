import { describe, expect, it } from 'vitest';
import {
  loadScripts,
  type ScriptName,
} from '../../packages/server/src/redis/connection/scripts.js';
import { startRedis } from '../harness/redis.js';

const LIVE = '60000';

/** A Redis, and how its scripts run. */
async function scripted() {
  const redis = await startRedis();
  const scripts = loadScripts();
  const run = (name: ScriptName, ...args: string[]) =>
    redis.command('EVAL', scripts[name].source, '1', 'test:{rv}', ...args);
  const open = (node: string) =>
    run('open', 'sid', 'me', 'fp', '', 'gid', node, '{}', '{"id":"A"}', LIVE, LIVE, '9');
  const append = (fence: string, at: number, next: number, blob: string) =>
    run('append', LIVE, LIVE, 'gid', fence, `${at}`, `${next}`, blob, 'streaming', '1', '-');
  return { redis, run, open, append };
}

describe('the fence of a log', () => {
  it('lets only the newest owner append, also where both are at its head', async () => {
    const { run, open, append } = await scripted();
    await open('old');
    await run('leave', 'old', LIVE);
    const claimed = (await run('claim', 'old', 'new', '8', LIVE)) as string[][];
    expect(claimed[0]?.slice(0, 3)).toEqual(['gid', '2', '0']);
    expect(await append('1', 0, 1, '["x"]')).toEqual(['stale']);
    expect(await append('2', 0, 1, '["x"]')).toEqual(['ok']);
    expect(await append('2', 0, 1, '["x"]')).toEqual(['at:1']);
  });
});

describe('the streams of a principal that never stops asking', () => {
  it('are forgotten once they have expired, without a limit on how many there were', async () => {
    const { redis, run } = await scripted();
    const listed = async () => Number(await redis.command('ZCARD', 'test:{rv}:h:me'));
    const most: number[] = [];
    for (let i = 0; i < 500; i++) {
      const [sid, gid] = [`sid ${i}`, `gid ${i}`];
      await run('open', sid, 'me', 'fp', '', gid, 'node', '{}', '{}', LIVE, LIVE, '999');
      // Twenty are there at a time.
      if (i >= 20) await redis.command('DEL', `test:{rv}:s:sid ${i - 20}`);
      most.push(await listed());
    }
    expect(Math.max(...most)).toBeLessThan(60);
    for (let i = 480; i < 500; i++)
      expect(await redis.command('ZSCORE', 'test:{rv}:h:me', `sid ${i}`)).not.toBeNull();
  });
});

describe('a stream whose reader disconnects', () => {
  it('is waited for, also where Redis was not told that the reader had come', async () => {
    const { redis, run, open } = await scripted();
    await open('owner');
    const due = (): Promise<unknown> => redis.command('ZSCORE', 'test:{rv}:due', 'sid');
    const before = await due();
    await run('readers', 'sid', 'reader', 'owner.1', 'lost', LIVE);
    expect(await due()).toBe(before);
  });
});

describe('a reply with a part of a log', () => {
  it.each([
    ['large', 10_000, 60],
    ['many', 10, 600],
  ])(
    'is bounded where the log has %s items, so that other replies do not wait for it',
    async (_, units, items) => {
      const { run, open, append } = await scripted();
      const mostBytes = 100_000;
      await open('owner');
      const blob = JSON.stringify([{ type: 'text', text: 'x'.repeat(units) }]);
      for (let i = 0; i < items; i++) await append('1', i * units, (i + 1) * units, blob);
      const head = items * units;
      let pages = 0;
      for (let from = 0; from < head; pages++) {
        const reply = (await run(
          'follow',
          'gid',
          'reader',
          `${from}`,
          `${mostBytes}`,
        )) as unknown[];
        const page = reply[6] as [string, string][];
        const bytes = page.reduce((sum, [, item]) => sum + item.length, 0);
        expect(bytes).toBeLessThanOrEqual(mostBytes + blob.length);
        expect(page.length).toBeLessThanOrEqual(200);
        expect(page[0]?.[0]).toBe(`${from}`);
        from += page.length * units;
      }
      expect(pages).toBeGreaterThan(2);
    },
  );
});
