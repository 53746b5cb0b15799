import { describe, expect, it } from 'vitest';
import {
  loadScripts,
  type ScriptName,
} from '../../packages/server/src/deliver/redis/connection/scripts.js';
import { startRedis } from '../harness/redis.js';

const LIVE = '60000';

describe('the fence of a log', () => {
  it('lets only the newest owner append, also where both are at its head', async () => {
    const redis = await startRedis();
    const scripts = loadScripts();
    const run = (name: ScriptName, ...args: string[]) =>
      redis.command('EVAL', scripts[name].source, '1', 'test:{rv}', ...args);
    const append = (fence: string) =>
      run('append', LIVE, LIVE, 'gid', fence, '0', '1', '["x"]', 'streaming', '1', '-');
    await run('open', 'sid', 'me', 'fp', '', 'gid', 'old', '{}', '{"id":"A"}', LIVE, LIVE, '9');
    await run('leave', 'old', LIVE);
    const claimed = (await run('claim', 'old', 'new', '8', LIVE)) as string[][];
    expect(claimed[0]?.slice(0, 3)).toEqual(['gid', '2', '0']);
    expect(await append('1')).toEqual(['stale']);
    expect(await append('2')).toEqual(['ok']);
    expect(await append('2')).toEqual(['at:1']);
  });
});
