import { EVENT } from '@rivulet/protocol';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { connect, next } from '../harness/plain-client.js';
import { providersOf } from '../harness/providers.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';
import { keepingLogger } from '../harness/users.js';

const VERSION = '../../packages/server/src/redis/connection/schema-version.js';
const AUTH = { browser_id: 'the-browser-of-the-first-visitor' };

async function ofThisVersion(redis: TestRedis) {
  const played = stage();
  const { logger, logged } = keepingLogger();
  const server = await startServer(played.provider, { redis: { url: redis.url }, logger });
  return { ...played, server, url: server.url, logged };
}

/** A server whose keys, messages and scripts have the version before. */
async function ofVersionBefore(redis: TestRedis) {
  vi.doMock(VERSION, () => ({ SCHEMA_VERSION: 0 }));
  vi.resetModules();
  onTestFinished(() => {
    vi.doUnmock(VERSION);
    vi.resetModules();
  });
  const { createServer } = await import('@rivulet/server');
  const { provider, ...played } = stage();
  const { logger, logged } = keepingLogger();
  const server = await createServer({
    port: 0,
    env: {},
    logger,
    providers: providersOf(provider),
    redis: { url: redis.url },
  });
  onTestFinished(() => server.close());
  return { ...played, server, url: await server.listen(), logged };
}

describe('servers of two versions that use one Redis', () => {
  it('share nothing, say so, and never give a reader text of the other', async () => {
    const redis = await startRedis();
    const older = await ofVersionBefore(redis);
    const newer = await ofThisVersion(redis);
    await vi.waitFor(() =>
      expect(newer.logged).toContainEqual({ event: 'REDIS_OTHER_VERSION', others: ['0'] }),
    );
    const ask = { query: 'q', stream_id: 'A', window: 10_000 };
    const there = connect(older.url, AUTH);
    const { epoch } = await there.emitWithAck(EVENT.start, ask);
    const call = await older.nextCall();
    call.say('Where a river ends.');
    await next(there, EVENT.shortChunk);
    // The load balancer leads the reader to the new version.
    const here = connect(newer.url, AUTH);
    const resume = { stream_id: 'A', offset: 10, epoch, window: 10_000 };
    expect(await here.emitWithAck(EVENT.resume, resume)).toMatchObject({
      error: { code: 'not_found' },
    });
    expect(await here.emitWithAck(EVENT.list, {})).toMatchObject({ streams: [] });
    const again = await here.emitWithAck(EVENT.start, ask);
    expect(again.epoch).not.toBe(epoch);
    (await newer.nextCall()).say('Rivers end here, too.');
    await next(here, EVENT.shortChunk);
    // A reader that had the other text begins again.
    const back = connect(newer.url, AUTH);
    expect(await back.emitWithAck(EVENT.resume, resume)).toMatchObject({ ok: true, reset: true });
    const keys = (await redis.command('KEYS', '*')) as string[];
    expect(new Set(keys.map((key) => key.split('{rv}')[0]))).toEqual(
      new Set(['rivulet:', 'rivulet:v0', 'rivulet:v1']),
    );
    for (const key of keys) expect([key, await redis.command('PTTL', key)]).not.toContain(-1);
    // No server of another version goes on with what it could misread.
    await older.server.close();
    await expect(call.aborted).resolves.toBeUndefined();
    expect(newer.calls).toHaveLength(1);
  });
});
