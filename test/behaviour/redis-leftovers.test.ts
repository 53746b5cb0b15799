import { setTimeout as wait } from 'node:timers/promises';
import { EVENT } from '@rivulet/protocol';
import type { Provider, ServerOptions } from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { cluster } from '../harness/cluster/servers.js';
import { heldBytes } from '../harness/heap.js';
import { connect, next } from '../harness/plain-client.js';
import { type RedisProxy, redisProxy } from '../harness/redis-proxy.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';
import { keepingLogger } from '../harness/users.js';

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
  return {
    url,
    redis,
    proxy,
    running: () => running,
    whenReady: () => vi.waitFor(async () => expect(await readiness(url)).toBe('ready\n'), PATIENT),
    whenAway: () =>
      vi.waitFor(async () => expect(await readiness(url)).toMatch('degraded'), PATIENT),
  };
}

/** Two servers that share a Redis; `a` reaches it through the proxy. */
async function apart(redis: TestRedis, proxy: RedisProxy, ofA: ServerOptions, ofB: ServerOptions) {
  const start = async (url: string, options: ServerOptions) => {
    const played = stage();
    const server = await startServer(played.provider, { ...options, redis: { url } });
    return { ...played, server, url: server.url };
  };
  const b = await start(redis.url, ofB);
  return { a: await start(proxy.url, ofA), b };
}

async function readiness(url: string): Promise<string> {
  return (await fetch(`${url}/readyz`)).text();
}

/** Breaks the connections of the servers to Redis; those through the proxy stay away. */
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

describe('a server', () => {
  it.each<[string, 'a' | 'b']>([
    ['follows', 'b'],
    ['generates', 'a'],
  ])(
    'that loses Redis when its own reader leaves an answer that it %s does not end the answer for readers elsewhere',
    async (_, generating) => {
      const redis = await startRedis();
      const proxy = await redisProxy(redis.url);
      const limits = { detachTimeoutMs: 20 };
      const { a, b } = await apart(redis, proxy, { limits }, { limits });
      const owner = { a, b }[generating];
      const started = sdk(owner.url, ME).start({ query: 'q' });
      const call = await owner.nextCall();
      call.say('Where a ');
      const [left, kept] = [sdk(a.url, ME).resume(started.id), sdk(b.url, ME).resume(started.id)];
      const hasText = ({ text }: { text: string }): boolean => text === 'Where a ';
      for (const one of [left, kept]) await snapshotWhen(one, hasText);
      started.release();
      await cut(redis, proxy);
      await vi.waitFor(async () => expect(await readiness(a.url)).toMatch('degraded'), PATIENT);
      left.release();
      // The time for which a detached reader is awaited is over.
      await wait(10 * limits.detachTimeoutMs);
      proxy.refuses = false;
      await vi.waitFor(async () => expect(await readiness(a.url)).toBe('ready\n'), PATIENT);
      call.say('river ends.');
      call.finish();
      const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
      expect(await kept.result).toMatchObject(done);
    },
  );

  it('that has no memory for an answer that it follows does not end the answer elsewhere', async () => {
    const redis = await startRedis();
    const proxy = await redisProxy(redis.url);
    // One user may have an eighth of it.
    const { a, b } = await apart(redis, proxy, { limits: { maxLogBytes: 1_600_000 } }, {});
    const kept = sdk(b.url, ME).start({ query: 'q' });
    const call = await b.nextCall();
    let text = 'x'.repeat(20_000);
    call.say(text);
    const ended = sdk(a.url, ME).resume(kept.id);
    await snapshotWhen(ended, (shown) => shown.text === text);
    for (let i = 0; i < 10; i++) {
      call.say('x'.repeat(20_000));
      text += 'x'.repeat(20_000);
    }
    await expect(ended.result).rejects.toMatchObject({ code: 'overloaded' });
    // The messages of the server have reached Redis by then.
    sdk(a.url, ME).start({ query: 'other' });
    (await a.nextCall()).finish();
    call.finish();
    expect(await kept.result).toMatchObject({ status: 'done', text });
  });

  it('that shuts down without Redis does not end the answers that it follows elsewhere', async () => {
    const redis = await startRedis();
    const proxy = await redisProxy(redis.url);
    const { logger, logged } = keepingLogger();
    const { a, b } = await apart(redis, proxy, { logger, drainSeconds: 0 }, {});
    const kept = sdk(b.url, ME).start({ query: 'q' });
    const call = await b.nextCall();
    call.say('Where a ');
    const left = connect(a.url, { browser_id: ME.browserId });
    const failed = next(left, EVENT.error);
    await left.emitWithAck(EVENT.resume, { stream_id: kept.id, offset: 0 });
    await cut(redis, proxy);
    await vi.waitFor(async () => expect(await readiness(a.url)).toMatch('degraded'), PATIENT);
    const drained = a.server.drain();
    expect(await failed).toMatchObject({ code: 'interrupted' });
    proxy.refuses = false;
    const reached = (): number => logged.filter(({ event }) => event === 'REDIS_REACHED').length;
    await vi.waitFor(() => expect(reached()).toBe(2), PATIENT);
    await drained;
    call.say('river ends.');
    call.finish();
    expect(await kept.result).toMatchObject({ status: 'done', text: 'Where a river ends.' });
  });
});
