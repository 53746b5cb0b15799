import { EVENT } from '@rivulet/protocol';
import { describe, expect, it, vi } from 'vitest';
import { collect, connect, next } from '../harness/plain-client.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const AUTH = { browser_id: ME.browserId };

/** Servers that share a Redis; each has a provider of its own. */
async function cluster(
  count: number,
  options: Parameters<typeof startServer>[1] = {},
  redis?: TestRedis,
) {
  const store = redis ?? (await startRedis());
  const nodes = await Promise.all(
    Array.from({ length: count }, async () => {
      const played = stage();
      const shared = { url: store.url, ...options.redis };
      const server = await startServer(played.provider, { ...options, redis: shared });
      return { ...played, server, url: server.url };
    }),
  );
  return { redis: store, nodes: nodes as [Node, Node, ...Node[]] };
}

type Node = ReturnType<typeof stage> & {
  server: Awaited<ReturnType<typeof startServer>>;
  url: string;
};

describe('streams of several processes', () => {
  it('are read through another process, from the beginning and while they go on', async () => {
    const { nodes } = await cluster(2);
    const [a, b] = nodes;
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    await snapshotWhen(first, ({ text }) => text === 'Where a ');
    const second = sdk(b.url, ME).resume(first.id);
    await snapshotWhen(second, ({ text }) => text === 'Where a ');
    call.say('river ends.');
    call.finish();
    expect(await second.result).toMatchObject({ status: 'done', text: 'Where a river ends.' });
    expect(await first.result).toMatchObject({ status: 'done', text: 'Where a river ends.' });
    const late = sdk(b.url, ME).resume(first.id);
    expect(await late.result).toMatchObject({ status: 'done', text: 'Where a river ends.' });
    expect(b.calls).toHaveLength(0);
  });

  it('start once, wherever the same start arrives, and refuse another request', async () => {
    const { nodes } = await cluster(2);
    const [a, b] = nodes;
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    const ask = { query: 'q', stream_id: 'A', window: 1_000 };
    const [first, second] = await Promise.all([
      one.emitWithAck(EVENT.start, ask),
      two.emitWithAck(EVENT.start, ask),
    ]);
    expect(second).toMatchObject({ ok: true, epoch: first.epoch });
    expect(await two.emitWithAck(EVENT.start, { ...ask, query: 'other' })).toMatchObject({
      error: { code: 'conflict' },
    });
    await vi.waitFor(() => expect(a.calls.length + b.calls.length).toBe(1));
    const other = connect(b.url, { browser_id: 'the-browser-of-somebody-else-entirely' });
    expect(
      await other.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0, window: 1_000 }),
    ).toMatchObject({ error: { code: 'not_found' } });
  });

  it('share one generation, and each is cancelled through any process', async () => {
    const { nodes } = await cluster(2);
    const [a, b] = nodes;
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    const ends = [collect(one), collect(two)];
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    await two.emitWithAck(EVENT.start, { query: 'q', stream_id: 'B' });
    const call = await a.nextCall();
    call.say('Where ');
    await vi.waitFor(async () =>
      expect((await two.emitWithAck(EVENT.list, {})).streams).toMatchObject([
        { stream_id: 'A', status: 'streaming', offset: 7 },
        { stream_id: 'B', status: 'streaming', offset: 7 },
      ]),
    );
    await two.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    expect((await ends[0])?.terminal).toMatchObject({ code: 'cancelled' });
    await one.emitWithAck(EVENT.cancel, { stream_id: 'B' });
    expect((await ends[1])?.terminal).toMatchObject({ code: 'cancelled' });
    await call.aborted;
    expect(b.calls).toHaveLength(0);
  });

  it('are listed and watched through any process', async () => {
    const { nodes } = await cluster(2);
    const [a, b] = nodes;
    const watcher = connect(b.url, AUTH);
    const changes: [string, string][] = [];
    watcher.on(EVENT.changed, ({ stream }) => changes.push([stream.stream_id, stream.status]));
    expect(await watcher.emitWithAck(EVENT.list, { watch: true })).toMatchObject({ streams: [] });
    const one = connect(a.url, AUTH);
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', window: 1_000 });
    const call = await a.nextCall();
    call.say('x');
    await next(one, EVENT.shortChunk);
    call.finish();
    await vi.waitFor(() =>
      expect(changes).toEqual([
        ['A', 'waiting'],
        ['A', 'streaming'],
        ['A', 'ended'],
      ]),
    );
  });

  it('end when their last reader has left through another process', async () => {
    const { nodes } = await cluster(2, { limits: { detachTimeoutMs: 100 } });
    const [a, b] = nodes;
    const reader = { reader_id: 'r', window: 1_000 };
    const one = connect(a.url, AUTH);
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', ...reader });
    const call = await a.nextCall();
    const two = connect(b.url, AUTH);
    await two.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0, ...reader });
    await two.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'r' });
    // The connection of the first process is lost after the reader has moved and left.
    one.disconnect();
    await expect(call.aborted).resolves.toBeUndefined();
  });
});
