import { expect, it, vi } from 'vitest';
import { cuttableLink } from '../harness/link.js';
import { testMeter } from '../harness/meter.js';
import { startRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };

it('metrics tell of appends, of the lag of messages, of a server that is cut off, and of takeovers', async () => {
  const redis = await startRedis();
  const link = await cuttableLink(redis.url);
  const [cutOff, other] = [testMeter(), testMeter()];
  const [a, b] = [stage(), stage()];
  const url = link.url.replace('http:', 'redis:');
  const server = await startServer(a.provider, {
    redis: { url },
    meterProvider: cutOff.provider,
  });
  await startServer(b.provider, { redis: { url: redis.url }, meterProvider: other.provider });
  const answer = sdk(server.url, ME).start({ query: 'q' });
  (await a.nextCall()).say('Where a ');
  await snapshotWhen(answer, ({ text }) => text === 'Where a ');
  await vi.waitFor(async () => {
    const read = await cutOff.read();
    expect(read['llm_redis_append_seconds']?.[0]?.value).toBeGreaterThan(0);
    expect(read['llm_redis_append_seconds']?.[0]?.sum).toBeLessThan(1);
    expect(read['llm_redis_follower_lag_seconds']?.[0]?.value).toBeGreaterThan(0);
    expect(read['llm_redis_follower_lag_seconds']?.[0]?.sum).toBeLessThan(10);
    expect(read['llm_redis_degraded']).toEqual([{ attributes: {}, value: 0 }]);
  }, 5_000);
  link.down();
  (await b.nextCall()).finish();
  expect((await cutOff.read())['llm_redis_degraded']).toMatchObject([{ value: 1 }]);
  const read = await other.read();
  expect(read['llm_redis_degraded']).toMatchObject([{ value: 0 }]);
  expect(read['llm_redis_takeovers']).toEqual([{ attributes: { outcome: 'restarted' }, value: 1 }]);
});
