import { EVENT } from '@rivulet/protocol';
import { describe, expect, it, vi } from 'vitest';
import { cluster } from '../harness/cluster/servers.js';
import { cuttableLink } from '../harness/link.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const AUTH = { browser_id: ME.browserId };

describe('streams of several processes', () => {
  it('are read through another process, from the beginning and while they go on', async () => {
    const { a, b } = await cluster();
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
    const { a, b } = await cluster();
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
    const { a, b } = await cluster();
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
    const { a, b } = await cluster();
    const watcher = connect(b.url, AUTH);
    const changes: [string, string][] = [];
    const ended = new Promise<void>((resolve) => {
      watcher.on(EVENT.changed, ({ stream }) => {
        changes.push([stream.stream_id, stream.status]);
        if (stream.status === 'ended') resolve();
      });
    });
    expect(await watcher.emitWithAck(EVENT.list, { watch: true })).toMatchObject({ streams: [] });
    const one = connect(a.url, AUTH);
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', window: 1_000 });
    const call = await a.nextCall();
    call.say('x');
    await next(one, EVENT.shortChunk);
    call.finish();
    await ended;
    expect(changes).toEqual([
      ['A', 'waiting'],
      ['A', 'streaming'],
      ['A', 'ended'],
    ]);
  });

  it('go on for their other readers when those of one process have left', async () => {
    const { redis, a, b } = await cluster({ limits: { detachTimeoutMs: 50 } });
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    const [first, second] = [
      { reader_id: 'r1', window: 1_000 },
      { reader_id: 'r2', window: 1_000 },
    ];
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', ...first });
    const call = await a.nextCall();
    await two.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0, ...second });
    expect(await redis.command('KEYS', '*:f:*')).toHaveLength(1);
    await two.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'r2' });
    await vi.waitFor(async () => expect(await redis.command('KEYS', '*:f:*')).toHaveLength(0));
    const end = next(one, EVENT.end);
    call.say('Still here.');
    call.finish();
    expect(await end).toMatchObject({ total_length: 11 });
  });

  it('are read through a process where another stream of the same generation was cancelled', async () => {
    const { a, b } = await cluster();
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', window: 1_000 });
    const call = await a.nextCall();
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'B', window: 1_000 });
    await two.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0, window: 1_000 });
    const cancelled = next(two, EVENT.error);
    await two.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    await cancelled;
    const late = sdk(b.url, ME).resume('B');
    call.say('Here.');
    call.finish();
    expect(await late.result).toMatchObject({ status: 'done', text: 'Here.' });
  });

  it('end soon when their reader has moved and left, though its old connection is lost later', async () => {
    const { redis, a, b } = await cluster({ limits: { detachTimeoutMs: 2_000 } });
    const link = await cuttableLink(a.url);
    const reader = { reader_id: 'r', window: 1_000 };
    const one = connect(link.url, AUTH);
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', ...reader });
    const call = await a.nextCall();
    const two = connect(b.url, AUTH);
    await two.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0, ...reader });
    await two.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'r' });
    const [readers = ''] = (await redis.command('KEYS', '*:r:*')) as string[];
    await vi.waitFor(async () => expect(await redis.command('HKEYS', readers)).toEqual(['']));
    link.down();
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('have a character that came in two halves', async () => {
    const { a, b } = await cluster();
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    const second = sdk(b.url, ME).resume(first.id);
    call.say('a🦊'.slice(0, 2));
    await snapshotWhen(second, ({ text }) => text === 'a');
    // A stream that is cancelled now ends before the character.
    const { streams } = await connect(b.url, AUTH).emitWithAck(EVENT.list, {});
    expect(streams).toMatchObject([{ offset: 'sa'.length }]);
    call.say('🦊b'.slice(1));
    await snapshotWhen(second, ({ text }) => text === 'a🦊b');
    call.finish();
    expect(await second.result).toMatchObject({ status: 'done', text: 'a🦊b' });
    expect(await first.result).toMatchObject({ status: 'done', text: 'a🦊b' });
  });

  it('are read whole through another process where they are too long for one reply', async () => {
    const { a, b } = await cluster();
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    let text = '';
    for (let i = 0; i < 40; i++) {
      const piece = `${i} `.padEnd(25_000, '.');
      text += piece;
      call.say(piece);
      await snapshotWhen(first, (snapshot) => snapshot.text.length === text.length);
    }
    const late = sdk(b.url, ME).resume(first.id);
    await snapshotWhen(late, (snapshot) => snapshot.text.length === text.length);
    call.finish();
    const result = await late.result;
    expect(result.status).toBe('done');
    expect(result.text === text).toBe(true);
  });

  it('can be read from each offset while they are written', async () => {
    const { a, b } = await cluster();
    const reading = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    const text = 'Where a river ends, a delta begins.';
    const readers = text.split('').map(async (letter) => {
      call.say(letter);
      const late = sdk(b.url, ME).resume(reading.id);
      return late.result;
    });
    call.finish();
    for (const result of await Promise.all(readers))
      expect(result).toMatchObject({ status: 'done', text });
  });

  it('tell a reader that their log was lost and begun again', async () => {
    const { redis, a, b } = await cluster({ authenticate: () => ({ principal: 'me' }) });
    const socket = connect(a.url);
    const ask = { query: 'q', stream_id: 'A', window: 10_000 };
    const { epoch } = await socket.emitWithAck(EVENT.start, ask);
    const call = await a.nextCall();
    call.say('x'.repeat(200));
    call.finish();
    await next(socket, EVENT.end);
    await a.server.forget('me');
    await redis.command('FLUSHALL');
    const other = connect(b.url);
    const resume = { stream_id: 'A', offset: 100, epoch, window: 10_000 };
    expect(await other.emitWithAck(EVENT.resume, resume)).toMatchObject({
      error: { code: 'not_found' },
    });
    await other.emitWithAck(EVENT.start, ask);
    (await b.nextCall()).say('y'.repeat(200));
    await next(other, EVENT.shortChunk);
    const third = connect(a.url);
    expect(await third.emitWithAck(EVENT.resume, resume)).toMatchObject({ ok: true, reset: true });
  });

  it('are listed as paused through any process, and outlive their readers, while a client is asked', async () => {
    const { redis, a, b } = await cluster({ limits: { detachTimeoutMs: 50 } });
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    const weather = { name: 'weather', description: 'Tells the weather.' };
    const tools = [{ ...weather, parameters: { type: 'object', properties: {} } }];
    const ask = { query: 'q', stream_id: 'A', reader_id: 'r', window: 1_000, client_tools: tools };
    expect(await one.emitWithAck(EVENT.start, ask)).toMatchObject({ ok: true });
    const told = next<{ call_id: string }>(one, EVENT.tool);
    const call = await a.nextCall();
    call.callTool('weather', {});
    call.finish();
    const { call_id } = await told;
    const listed = () => two.emitWithAck(EVENT.list, {});
    const paused = { streams: [{ stream_id: 'A', status: 'paused' }] };
    await vi.waitFor(async () => expect(await listed()).toMatchObject(paused));
    await one.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'r' });
    // No reader is awaited any more: a heartbeat postpones the end of the stream by seconds.
    const [due = ''] = (await redis.command('KEYS', '*:due')) as string[];
    const postponed = () =>
      redis.command('ZCOUNT', due, `${Date.now() + 1_000}`, `${Date.now() + 6_000}`);
    await vi.waitFor(async () => expect(await postponed()).toBe(1));
    expect(await listed()).toMatchObject(paused);
    await one.emitWithAck(EVENT.toolReply, { stream_id: 'A', call_id, result: 'sunny' });
    const last = await a.nextCall();
    await vi.waitFor(async () =>
      expect(await listed()).toMatchObject({ streams: [{ stream_id: 'A', status: 'waiting' }] }),
    );
    last.say('Sunny.');
    last.finish();
    const answer = sdk(b.url, ME).resume('A');
    expect(await answer.result).toMatchObject({ status: 'done', text: 'Sunny.' });
  });

  it('leave no key in Redis without an end to its life', async () => {
    const { redis, a, b } = await cluster();
    const one = sdk(a.url, ME).start({ query: 'one' });
    const call = await a.nextCall();
    call.say('text');
    call.finish();
    await one.result;
    const two = sdk(a.url, ME).start({ query: 'two' });
    (await a.nextCall()).say('text');
    await snapshotWhen(sdk(b.url, ME).resume(two.id), ({ text }) => text !== '');
    const keys = (await redis.command('KEYS', '*')) as string[];
    expect(new Set(keys.map((key) => key.split('}:')[1]!.split(':')[0]))).toEqual(
      new Set([
        's',
        'g',
        'l',
        'q',
        'm',
        'f',
        'r',
        'p',
        'h',
        'u',
        'fl',
        'n',
        'o',
        'due',
        'c',
        'ci',
        'cb',
        'versions',
        'cp',
      ]),
    );
    for (const key of keys) expect([key, await redis.command('PTTL', key)]).not.toContain(-1);
  });

  it('of a user who is forgotten end and are removed everywhere', async () => {
    const { redis, a, b } = await cluster({ authenticate: () => ({ principal: 'me' }) });
    const [one, two] = [connect(a.url), connect(b.url)];
    const ended = collect(two);
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const call = await a.nextCall();
    await two.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0 });
    await one.emitWithAck(EVENT.start, { query: 'done', stream_id: 'B', window: 1_000 });
    (await a.nextCall()).finish();
    await b.server.forget('me');
    expect((await ended).terminal).toMatchObject({ code: 'cancelled' });
    await call.aborted;
    await vi.waitFor(async () =>
      expect(await one.emitWithAck(EVENT.resume, { stream_id: 'B', offset: 0 })).toMatchObject({
        error: { code: 'not_found' },
      }),
    );
    const keys = (await redis.command('KEYS', '*')) as string[];
    expect(keys.filter((key) => /\}:[sglqmr]:/.test(key))).toEqual([]);
  });

  it('count towards one rate limit, and towards that of each process while Redis is away', async () => {
    const limit = { rateLimit: { requests: 2, windowSeconds: 60 } };
    const { redis, a, b } = await cluster(limit);
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    const start = (socket: typeof one, id: string) =>
      socket.emitWithAck(EVENT.start, { query: id, stream_id: id, window: 1_000 });
    expect(await start(one, 'A')).toMatchObject({ ok: true });
    expect(await start(two, 'B')).toMatchObject({ ok: true });
    expect(await start(one, 'C')).toMatchObject({ error: { code: 'rate_limited' } });
    expect(await start(one, 'B')).toMatchObject({ ok: true });
    await redis.stop();
    await vi.waitFor(async () =>
      expect(await (await fetch(`${a.url}/readyz`)).text()).toContain('degraded'),
    );
    expect(await start(one, 'D')).toMatchObject({ ok: true });
    expect(await start(one, 'E')).toMatchObject({ ok: true });
    expect(await start(one, 'F')).toMatchObject({ error: { code: 'rate_limited' } });
  });
});
