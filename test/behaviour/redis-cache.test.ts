import { EVENT } from '@rivulet/protocol';
import { createLogger } from '@rivulet/server';
import { createClient } from 'redis';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { SharedState } from '../../packages/server/src/redis/shared-state.js';
import { cluster, type StagedNode } from '../harness/cluster/servers.js';
import { next } from '../harness/plain-client.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { redisProxy } from '../harness/redis-proxy.js';
import { sdk } from '../harness/sdk.js';
import { connectAs, start, USERS } from '../harness/users.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const OTHER = { browserId: 'the-browser-of-somebody-else-entirely' };

/** Asks a question, and has the provider answer it. */
async function answered(
  node: StagedNode,
  query: string,
  text = 'Here.',
  reason: 'stop' | 'length' = 'stop',
): Promise<void> {
  const answer = sdk(node.url, ME).start({ query });
  const call = await node.nextCall();
  call.say(text);
  call.finish(reason);
  await answer.result;
}

/** The source of the answer to a question that is asked now. The provider answers if it has to. */
async function sourceOf(node: StagedNode, query: string, user = ME): Promise<string | undefined> {
  const answer = sdk(node.url, user).start({ query });
  const answerIt = async (): Promise<void> => {
    const call = await node.nextCall();
    call.say('Asked.');
    call.finish();
  };
  await Promise.race([answerIt(), answer.result]);
  return (await answer.result).source;
}

const cached = async (redis: TestRedis): Promise<string[]> =>
  ((await redis.command('KEYS', '*')) as string[]).filter((key) => key.includes('}:c:'));

describe('a complete answer', () => {
  it('is in the cache of all processes, and stays in the memory of each that has asked', async () => {
    const { redis, a, b } = await cluster();
    await answered(a, 'q', 'Where a river ends.');
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
    const there = await sdk(b.url, OTHER).start({ query: 'q' }).result;
    expect(there).toMatchObject({ source: 'server-cache', text: 'Where a river ends.' });
    const [key = ''] = await cached(redis);
    expect(await redis.command('DEL', key)).toBe(1);
    expect(await sdk(b.url, ME).start({ query: 'q' }).result).toMatchObject({
      source: 'server-cache',
    });
    expect(b.calls).toHaveLength(0);
  });

  it('is that of one principal with LLM_CACHE_SCOPE=principal, and of all with shared', async () => {
    for (const scope of ['principal', 'shared'] as const) {
      const { redis, a, b } = await cluster({ cache: { scope } });
      await answered(a, 'q');
      await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
      const source = await sourceOf(b, 'q', OTHER);
      expect([scope, source]).toEqual([scope, scope === 'shared' ? 'server-cache' : 'model']);
      expect(await sourceOf(b, 'q')).toBe('server-cache');
    }
  });

  it('is kept for as long as in the memory of a process, and no longer in a copy', async () => {
    const { redis, a, b } = await cluster({ cache: { ttlSeconds: 100 } });
    await answered(a, 'q');
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
    const [key = ''] = await cached(redis);
    const ttl = Number(await redis.command('PTTL', key));
    expect(ttl).toBeGreaterThan(50_000);
    expect(ttl).toBeLessThanOrEqual(100_000);
    await redis.command('PEXPIRE', key, '5000');
    expect(await sourceOf(b, 'q')).toBe('server-cache');
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(0), 15_000);
    expect(await sourceOf(b, 'q')).toBe('model');
  });

  it('that is long stays in its process', async () => {
    const { redis, a } = await cluster({ cache: { maxBytes: 100_000_000 } });
    await answered(a, 'long', 'x'.repeat(262_144));
    await answered(a, 'short');
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
    expect(await sourceOf(a, 'long')).toBe('server-cache');
  });
});

it('an answer that reached its limit is in no cache', async () => {
  const { redis, a, b } = await cluster();
  await answered(a, 'q', 'Where a', 'length');
  await answered(a, 'other');
  await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
  expect(await sourceOf(b, 'q')).toBe('model');
});

describe('forget', () => {
  const options = { ...USERS, cache: { scope: 'shared' } } as const;

  it('removes the answers of the principal from Redis and from the memory of all processes', async () => {
    const { redis, a, b } = await cluster(options);
    const ask = async (node: StagedNode, user: string, id: string, query: string) => {
      const socket = connectAs(node.url, user);
      const ended = next(socket, EVENT.end);
      await start(socket, id, { query });
      return ended;
    };
    for (const user of ['ada', 'bob']) {
      const ended = ask(a, user, 'A', `of ${user}`);
      const call = await a.nextCall();
      call.say('Here.');
      call.finish();
      await ended;
    }
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(2));
    for (const name of ['ada', 'bob']) {
      expect(await ask(b, 'eve', `of ${name}`, `of ${name}`)).toMatchObject({ source: 'cache' });
    }
    await b.server.forget('ada');
    expect(await cached(redis)).toHaveLength(1);
    for (const [i, node] of [a, b].entries()) {
      expect(await ask(node, 'eve', `bob ${i}`, 'of bob')).toMatchObject({ source: 'cache' });
      const asked = ask(node, 'eve', `ada ${i}`, 'of ada');
      const call = await node.nextCall();
      call.say('Again.');
      call.finish();
      expect(await asked).toMatchObject({ source: 'model' });
      if (i === 0) await a.server.forget('eve');
    }
  });

  it('keeps no answer that another process is generating for the principal', async () => {
    const { redis, a, b } = await cluster(options);
    const socket = connectAs(a.url, 'ada');
    await start(socket, 'A', { query: 'shared by two' });
    const call = await a.nextCall();
    const other = connectAs(b.url, 'bob');
    const ended = next(other, EVENT.end);
    // The generation goes on for the other principal.
    await start(other, 'B', { query: 'shared by two' });
    await b.server.forget('ada');
    call.say('Here.');
    call.finish();
    await ended;
    const another = next(other, EVENT.end);
    await start(other, 'C', { query: 'other' });
    const second = await b.nextCall();
    second.say('There.');
    second.finish();
    await another;
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
    const third = connectAs(a.url, 'bob');
    const again = next(third, EVENT.end);
    await start(third, 'D', { query: 'shared by two' });
    const asked = await a.nextCall();
    asked.say('Again.');
    asked.finish();
    expect(await again).toMatchObject({ source: 'model' });
  });
});

it('an answer that is ready after its principal was forgotten is not kept in Redis', async () => {
  const redis = await startRedis();
  const [{ cache: one }, { cache: two }] = [await stateOf(redis), await stateOf(redis)];
  await one.forget('ada');
  two.set('of ada', { text: 'Here.', usage: {} }, 'ada');
  two.set('of bob', { text: 'There.', usage: {} }, 'bob');
  await vi.waitFor(async () => expect(await one.get('of bob')).toBeDefined());
  expect(await one.get('of ada')).toBeUndefined();
});

/** The shared state of a process without a server, once Redis is reached. */
async function stateOf({ url }: { url: string }, maxBytes = 1_000_000) {
  const settings = { url, keyPrefix: 'test:' };
  const state = new SharedState(settings, createClient, createLogger('silent'));
  onTestFinished(() => state.close());
  const cache = state.createCache({ ttlSeconds: 100, maxBytes });
  await vi.waitFor(() => expect(cache.get('unknown')).toBeInstanceOf(Promise));
  return { state, cache };
}

it('the answers in Redis have the room of one cache, and the oldest leave', async () => {
  const redis = await startRedis();
  const { cache } = await stateOf(redis, 20_000);
  const { cache: other } = await stateOf(redis, 20_000);
  for (let i = 0; i < 30; i++) {
    cache.set(`q${i}`, { text: 'x'.repeat(1_000), usage: {} });
    // The same answer again takes no further room.
    cache.set('again', { text: 'x'.repeat(1_000), usage: {} });
  }
  await vi.waitFor(async () => expect(await other.get('q29')).toBeDefined());
  const size = 1_000 + 400 + 2 * 3 + '{"text":"","usage":{}}'.length;
  const used = Number(await redis.command('GET', 'test:v1{rv}:cb'));
  expect(used).toBeGreaterThan(20_000 - 2 * size);
  expect(used).toBeLessThanOrEqual(20_000);
  expect(await cached(redis)).toHaveLength(Math.floor(20_000 / size));
  expect(await other.get('q0')).toBeUndefined();
  for (const key of (await redis.command('KEYS', '*')) as string[])
    expect([key, await redis.command('PTTL', key)]).not.toContain(-1);
});

describe('a cache whose Redis', () => {
  it('is stopped misses before the connection counts as lost, and keeps what it has', async () => {
    const redis = await startRedis();
    const { cache } = await stateOf(redis);
    cache.set('known', { text: 'Here.', usage: {} }, 'ada');
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
    redis.signal('SIGSTOP');
    const late = wait(900).then(() => 'late');
    expect(await Promise.race([cache.get('other'), late])).toBeUndefined();
    expect(cache.get('known')).toMatchObject({ text: 'Here.' });
    cache.set('more', { text: 'More.', usage: {} });
    await vi.waitFor(() => expect(cache.get('other')).toBeUndefined());
    await expect(cache.forget('ada')).rejects.toThrow('unable to remove cached answers');
    expect(cache.get('known')).toBeUndefined();
  });

  it('has answered while this process was busy is read first', async () => {
    const redis = await startRedis();
    const [{ cache: one }, { cache: two }] = [await stateOf(redis), await stateOf(redis)];
    one.set('known', { text: 'Here.', usage: {} });
    await vi.waitFor(async () => expect(await cached(redis)).toHaveLength(1));
    const found = two.get('known');
    const busyUntil = performance.now() + 400;
    while (performance.now() < busyUntil);
    expect(await found).toMatchObject({ text: 'Here.' });
  });

  it('was away while a principal was forgotten drops its copies', async () => {
    const redis = await startRedis();
    const proxy = await redisProxy(redis.url);
    const [{ cache: one }, { cache: two }] = [await stateOf(redis), await stateOf(proxy)];
    one.set('of ada', { text: 'Here.', usage: {} }, 'ada');
    await vi.waitFor(async () => expect(await two.get('of ada')).toMatchObject({ text: 'Here.' }));
    proxy.refuses = true;
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await vi.waitFor(() => expect(two.get('unknown')).toBeUndefined());
    await one.forget('ada');
    expect(two.get('of ada')).toMatchObject({ text: 'Here.' });
    proxy.refuses = false;
    await vi.waitFor(async () => expect(await two.get('of ada')).toBeUndefined());
    expect(await cached(redis)).toHaveLength(0);
  });
});
