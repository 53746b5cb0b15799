import { EVENT } from '@rivulet/protocol';
import type { Provider } from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { cluster } from '../harness/cluster/servers.js';
import { heldBytes } from '../harness/heap.js';
import { connect, next } from '../harness/plain-client.js';
import { type RedisProxy, redisProxy } from '../harness/redis-proxy.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const STREAMS = 60;
const ANSWER_UNITS = 200_000;
const PATIENT = { timeout: 15_000, interval: 200 };

/** A server whose answers go on until they are aborted. */
async function endless() {
  const redis = await startRedis();
  const proxy = await redisProxy(redis.url);
  let running = 0;
  const provider: Provider = {
    name: 'endless',
    model: 'm',
    async *stream(_, signal) {
      const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
      running += 1;
      try {
        yield { type: 'text', text: `${running} `.padEnd(ANSWER_UNITS, 'x') };
        await aborted;
      } finally {
        running -= 1;
      }
    },
  };
  const { url } = await startServer(provider, {
    redis: { url: proxy.url },
    env: { RATE_LIMIT_REQUESTS: '100000', LLM_CACHE_ENABLED: 'false' },
  });
  const readiness = async (): Promise<string> => (await fetch(`${url}/readyz`)).text();
  return {
    url,
    redis,
    proxy,
    running: () => running,
    whenReady: () => vi.waitFor(async () => expect(await readiness()).toBe('ready\n'), PATIENT),
    whenAway: () => vi.waitFor(async () => expect(await readiness()).toMatch('degraded'), PATIENT),
  };
}

async function cut(redis: TestRedis, proxy: RedisProxy): Promise<void> {
  proxy.refuses = true;
  for (const type of ['normal', 'pubsub']) await redis.command('CLIENT', 'KILL', 'TYPE', type);
}

describe('streams whose only reader cannot come back', () => {
  it.each<[string, 'never' | 'before the question' | 'before the reader leaves']>([
    ['', 'never'],
    [', and that began without Redis', 'before the question'],
    [' while Redis is away', 'before the reader leaves'],
  ])('leave no log in memory when the reader leaves in mid-answer%s', async (_, away) => {
    const { url, redis, proxy, running, whenReady, whenAway } = await endless();
    await whenReady();
    const before = await heldBytes();
    if (away === 'before the question') {
      await cut(redis, proxy);
      await whenAway();
    }
    const sockets = [];
    for (let i = 0; i < STREAMS; i++) {
      const socket = connect(url);
      const chunk = next(socket, EVENT.chunk);
      await socket.emitWithAck(EVENT.start, { query: `q ${i}` });
      await chunk;
      sockets.push(socket);
    }
    expect(running()).toBe(STREAMS);
    if (away === 'before the reader leaves') {
      await cut(redis, proxy);
      await whenAway();
    }
    for (const socket of sockets) socket.disconnect();
    await expect.poll(running, PATIENT).toBe(0);
    proxy.refuses = false;
    await whenReady();
    // The logs would be twice that.
    const bound = (STREAMS * ANSWER_UNITS) / 2;
    await expect.poll(async () => (await heldBytes()) - before, PATIENT).toBeLessThan(bound);
  });

  it('are not generated any more where Redis has lost them', async () => {
    const { redis, a } = await cluster();
    const socket = connect(a.url);
    const chunk = next(socket, EVENT.chunk);
    await socket.emitWithAck(EVENT.start, { query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    await chunk;
    await redis.command('FLUSHALL');
    socket.disconnect();
    await expect(call.aborted).resolves.toBeUndefined();
  });
});

describe('a provider whose last text is empty', () => {
  it('ends its answer over Redis as it does in memory', async () => {
    const { a, b } = await cluster();
    const answer = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    // Redis has the text by then.
    await snapshotWhen(answer, ({ text }) => text === 'Where a ');
    call.say('');
    call.finish();
    const done = { status: 'done', text: 'Where a ', attempt: 1 };
    expect(await answer.result).toMatchObject(done);
    expect(await sdk(b.url, ME).resume(answer.id).result).toMatchObject(done);
  });
});
