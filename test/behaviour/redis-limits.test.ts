import type { ServerOptions } from '@rivulet/server';
import { expect, it } from 'vitest';
import { startRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };

it.each<[string, ServerOptions['limits']]>([
  ['maxResponseUnits', { maxResponseUnits: 50_000 }],
  // One user may have an eighth of it.
  ['maxLogBytes', { maxLogBytes: 1_600_000 }],
])(
  'an answer beyond %s ends over Redis as it does in memory, and takes no more there',
  async (_, limits = {}) => {
    const redis = await startRedis();

    /** @returns how an answer ends whose provider goes on, for readers of each server. */
    async function endings(servers: ServerOptions[]) {
      const { provider, nextCall } = stage();
      const urls = [];
      for (const options of servers)
        urls.push((await startServer(provider, { ...options, limits })).url);
      const first = sdk(urls[0]!, ME).start({ query: 'q' });
      const call = await nextCall();
      call.say('x'.repeat(20_000));
      await snapshotWhen(first, ({ text }) => text.length === 20_000);
      const answers = [first, ...urls.slice(1).map((url) => sdk(url, ME).resume(first.id))];
      for (let i = 0; i < 10; i++) call.say('x'.repeat(20_000));
      const results = await Promise.allSettled(answers.map((answer) => answer.result));
      await call.aborted;
      return results.map((result, i) => ({
        status: result.status,
        units: answers[i]!.getSnapshot().text.length,
        finishReason: result.status === 'fulfilled' && result.value.finishReason,
        code: result.status === 'rejected' && (result.reason as { code: string }).code,
      }));
    }

    const shared = { redis: { url: redis.url } };
    const [inMemory] = await endings([{}]);
    expect(inMemory!.units).toBeLessThan(200_000);
    const overRedis = await endings([shared, shared]);
    // Redis takes the text in larger steps.
    for (const { units, ...ending } of overRedis) {
      expect({ ...inMemory, ...ending }).toEqual(inMemory);
      expect(Math.abs(units - inMemory!.units)).toBeLessThan(40_000);
    }
    const [log = ''] = (await redis.command('KEYS', '*:l:*')) as string[];
    expect(Number(await redis.command('MEMORY', 'USAGE', log))).toBeLessThan(2 * 200_000);
  },
);
