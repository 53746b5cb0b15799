import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import {
  loadScripts,
  type ScriptName,
} from '../../packages/server/src/redis/connection/scripts.js';
import { EVENT } from '@rivulet/protocol';
import { startNode } from '../harness/cluster/cluster.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { cuttableLink } from '../harness/link.js';
import { providersOf } from '../harness/providers.js';
import { startRedis } from '../harness/redis.js';
import { type ProxiedConnection, redisProxy } from '../harness/redis-proxy.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { type Stage, stage } from '../harness/stage.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };

async function readiness(url: string): Promise<string> {
  return (await fetch(`${url}/readyz`)).text();
}

/** Two servers that share a Redis; `a` reaches it through the proxy. */
async function behindProxy(...redisArgs: string[]) {
  const redis = await startRedis(...redisArgs);
  const proxy = await redisProxy(redis.url);
  const start = async (url: string): Promise<Stage & { url: string }> => {
    const played = stage();
    const server = await startServer(played.provider, { redis: { url } });
    return { ...played, url: server.url };
  };
  const b = await start(redis.url);
  return { redis, proxy, a: await start(proxy.url), b };
}

describe('connections to Redis', () => {
  it('that are accepted and never answered are replaced, until one is answered', async () => {
    const { proxy, a, b } = await behindProxy();
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    await snapshotWhen(first, ({ text }) => text === 'Where a ');
    const before = proxy.accepted;
    const silent = new WeakSet<object>();
    let isSilent = true;
    // A connection that was silent once stays so.
    proxy.drops = (connection) => {
      if (isSilent) silent.add(connection);
      return silent.has(connection);
    };
    call.say('river ');
    await snapshotWhen(first, ({ text }) => text === 'Where a river ');
    // Each of the three was opened again twice.
    await vi.waitFor(() => expect(proxy.accepted - before).toBeGreaterThan(6), 20_000);
    isSilent = false;
    await vi.waitFor(async () => expect(await readiness(a.url)).toBe('ready\n'));
    const second = await b.nextCall();
    second.say('All of it.');
    second.finish();
    expect(await first.result).toMatchObject({ status: 'done', text: 'All of it.', attempt: 101 });
  });

  it('that come back later than those of others, after an outage that outlives all leases, cost no attempt', async () => {
    const kept = ['--appendonly', 'yes', '--appendfsync', 'always'];
    const { redis, proxy, a, b } = await behindProxy(...kept);
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    const second = sdk(b.url, ME).resume(first.id);
    await snapshotWhen(second, ({ text }) => text === 'Where a ');
    await redis.stop();
    // A lease lasts 3 s.
    await wait(3_200);
    proxy.refuses = true;
    await redis.start();
    await vi.waitFor(async () => expect(await readiness(b.url)).toBe('ready\n'));
    // The other server has looked for dead ones by then.
    await wait(700);
    proxy.refuses = false;
    await vi.waitFor(async () => expect(await readiness(a.url)).toBe('ready\n'));
    call.say('river ends.');
    call.finish();
    const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
    expect(await second.result).toMatchObject(done);
    expect(await first.result).toMatchObject(done);
    expect(b.calls).toHaveLength(0);
  });

  it('that break between a start and its reply leave one stream, which all servers can read', async () => {
    const { proxy, a, b } = await behindProxy();
    // Redis knows the script from then on.
    sdk(a.url, ME).start({ query: 'q' });
    await a.nextCall();
    const lost = (sent: string): boolean => sent.includes('the question that gets no reply');
    proxy.drops = ({ sent }) => lost(sent);
    const first = sdk(a.url, ME).start({ query: 'the question that gets no reply' });
    const call = await a.nextCall();
    call.say('Where a ');
    await snapshotWhen(first, ({ text }) => text === 'Where a ');
    proxy.drops = () => false;
    await vi.waitFor(async () => expect(await readiness(a.url)).toBe('ready\n'));
    const second = sdk(b.url, ME).resume(first.id);
    await snapshotWhen(second, ({ text }) => text === 'Where a ');
    call.say('river ends.');
    call.finish();
    const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
    expect(await first.result).toMatchObject(done);
    expect(await second.result).toMatchObject(done);
    expect(b.calls).toHaveLength(0);
  });

  it('that break before the first text is shared lead its readers to the text of another process, unmixed', async () => {
    const { redis, proxy, a, b } = await behindProxy();
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    proxy.refuses = true;
    for (const type of ['normal', 'pubsub']) await redis.command('CLIENT', 'KILL', 'TYPE', type);
    call.say('Only here. ');
    await snapshotWhen(first, ({ text }) => text === 'Only here. ');
    const other = await b.nextCall();
    other.say('The text of the other process is longer.');
    const reader = sdk(b.url, ME).resume(first.id);
    await snapshotWhen(reader, ({ text }) => text !== '');
    proxy.refuses = false;
    const expected = 'The text of the other process is longer.';
    await snapshotWhen(first, ({ text }) => text.length > 'Only here. '.length);
    expect(first.getSnapshot()).toMatchObject({ text: expected, attempt: 101 });
    other.finish();
    for (const answer of [first, reader])
      expect(await answer.result).toMatchObject({ status: 'done', text: expected, attempt: 101 });
  });

  it('that break before the first text is shared end the stream of a plain reader, which has no text of another process', async () => {
    const { redis, proxy, a, b } = await behindProxy();
    const plain = connect(a.url, { browser_id: ME.browserId });
    const collected = collect(plain);
    const chunk = next(plain, EVENT.chunk);
    await plain.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const call = await a.nextCall();
    proxy.refuses = true;
    for (const type of ['normal', 'pubsub']) await redis.command('CLIENT', 'KILL', 'TYPE', type);
    call.say('Only here. ');
    await chunk;
    const other = await b.nextCall();
    other.say('The text of the other process is longer.');
    other.finish();
    const expected = { status: 'done', text: 'The text of the other process is longer.' };
    expect(await sdk(b.url, ME).resume('A').result).toMatchObject(expected);
    proxy.refuses = false;
    const terminal = { type: EVENT.error, code: 'interrupted' };
    expect(await collected).toMatchObject({ text: 'Only here. ', terminal });
  });

  it.each([
    ['stay', 0],
    ['stay, and fails over to another provider', 1],
    ['go to another server', 0],
    ['go to another server, and fails over to another provider', 1],
  ])(
    'that break lead the readers of a cut-off server to the text of its successor, unmixed, where they %s',
    async (where, failovers) => {
      const { redis, proxy, b } = await behindProxy();
      const [one, two] = [stage('one'), stage('two')];
      const providers = providersOf(one.provider, two.provider);
      const a = await startServer(one.provider, { redis: { url: proxy.url }, providers });
      const link = await cuttableLink(a.url);
      const first = sdk(link.url, ME).start({ query: 'q' });
      const shown = new Set<string>();
      first.state$.subscribe(({ text }) => shown.add(text));
      const call = await one.nextCall();
      call.say('Shared. ');
      await snapshotWhen(sdk(b.url, ME).resume(first.id), ({ text }) => text === 'Shared. ');
      proxy.refuses = true;
      for (const type of ['normal', 'pubsub']) await redis.command('CLIENT', 'KILL', 'TYPE', type);
      call.say('Only here. ');
      let local = 'Shared. Only here. ';
      await snapshotWhen(first, ({ text }) => text === local);
      if (failovers > 0) {
        call.fail(new Error('broken'));
        local = 'Of the second provider, only here.';
        (await two.nextCall()).say(local);
        await snapshotWhen(first, ({ text }) => text === local);
      }
      const other = await b.nextCall();
      const expected = `The successor says this: ${'more '.repeat(40)}`;
      other.say(expected);
      const reader = sdk(b.url, ME).resume(first.id);
      await snapshotWhen(reader, ({ text }) => text === expected);
      if (where.startsWith('go')) {
        link.leadTo(b.url);
        link.cut();
      } else proxy.refuses = false;
      await snapshotWhen(first, ({ text }) => text.length >= expected.length);
      other.finish();
      for (const answer of [first, reader])
        expect(await answer.result).toMatchObject({ status: 'done', text: expected });
      const texts = ['Shared. Only here. ', local, expected];
      expect([...shown].filter((text) => !texts.some((whole) => whole.startsWith(text)))).toEqual(
        [],
      );
    },
  );

  it('that lose the message of a cancel do not keep a reader waiting for the end', async () => {
    const { redis, proxy, a, b } = await behindProxy();
    const first = sdk(b.url, ME).start({ query: 'q' });
    (await b.nextCall()).say('Where a ');
    const reader = sdk(a.url, ME).resume(first.id);
    await snapshotWhen(reader, ({ text }) => text === 'Where a ');
    const deaf = new WeakSet<object>();
    let isDeaf = true;
    proxy.drops = (connection) => {
      if (isDeaf && connection.sent.includes('rivulet-subscriber-')) deaf.add(connection);
      return deaf.has(connection);
    };
    first.cancel();
    await vi.waitFor(async () => {
      const [log] = (await redis.command('KEYS', '*{rv}:g:*')) as string[];
      expect(await redis.command('HGET', log!, 'stop')).toBe('1');
    }, 10_000);
    isDeaf = false;
    expect(await reader.result).toMatchObject({ status: 'cancelled', text: 'Where a ' });
  });

  it('that break leave no reader without an end that has more than the stream had when it was cancelled', async () => {
    const { redis, proxy, a, b } = await behindProxy();
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Shared. ');
    const twin = sdk(b.url, ME).start({ query: 'q' });
    const reader = sdk(b.url, ME).resume(first.id);
    for (const one of [twin, reader]) await snapshotWhen(one, ({ text }) => text === 'Shared. ');
    proxy.refuses = true;
    for (const type of ['normal', 'pubsub']) await redis.command('CLIENT', 'KILL', 'TYPE', type);
    call.say('Only here. ');
    await snapshotWhen(first, ({ text }) => text === 'Shared. Only here. ');
    reader.cancel();
    proxy.refuses = false;
    expect(await first.result).toMatchObject({ status: 'cancelled', text: 'Shared. Only here. ' });
  });

  it('that are slow do not let a request of an earlier connection take the reader of a later one', async () => {
    const { proxy, a } = await behindProxy();
    const answer = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    await snapshotWhen(answer, ({ text }) => text === 'Where a ');
    const earlier = connect(a.url, { browser_id: ME.browserId });
    await next(earlier, 'connect');
    let isSlow = true;
    proxy.drops = ({ sent }) => isSlow && sent.includes('rivulet-reads-');
    const unknown = earlier.emitWithAck(EVENT.resume, { stream_id: 'unknown', offset: 0 });
    const resume = { stream_id: answer.id, offset: 0, window: 1_000, reader_id: 'one reader' };
    const stale = earlier.emitWithAck(EVENT.resume, resume);
    const later = connect(a.url, { browser_id: ME.browserId });
    await later.emitWithAck(EVENT.resume, resume);
    isSlow = false;
    await Promise.all([unknown, stale]);
    const chunk = next<number>(later, EVENT.shortChunk);
    call.say('river ');
    expect(await chunk).toBe(1);
  });

  it.each<[string, typeof EVENT.resume | typeof EVENT.start]>([
    ['resumes', EVENT.resume],
    ['starts again', EVENT.start],
  ])(
    'that are slow do not give an empty log to a second reader that %s a stream while it is read',
    async (_, event) => {
      const { redis, proxy, a, b } = await behindProxy();
      // A script that Redis knows runs at the first call.
      const { peek, follow } = loadScripts();
      for (const { source } of [peek, follow]) await redis.command('SCRIPT', 'LOAD', source);
      const auth = { browser_id: ME.browserId };
      const asked = { stream_id: 'A', query: 'q', window: 1_000 };
      const owner = connect(b.url, auth);
      const { epoch } = await owner.emitWithAck(EVENT.start, asked);
      (await b.nextCall()).say('Where a ');
      await next(owner, EVENT.shortChunk);
      const readers = [connect(a.url, auth), connect(a.url, auth), connect(a.url, auth)] as const;
      await Promise.all(readers.map((reader) => next(reader, 'connect')));
      const offset = 'Where a '.length + 1;
      const resume = { stream_id: 'A', epoch, offset, attempt: 1, window: 1_000 };
      let isHeld = true;
      let isReading = false;
      proxy.pauses = ({ sent }) => {
        isReading ||= sent.includes(follow.sha1);
        return isHeld && sent.includes(peek.sha1);
      };
      const [first, second, other] = readers;
      const replies = [first.emitWithAck(EVENT.resume, resume)];
      await vi.waitFor(() => expect(isReading).toBe(true), { interval: 5 });
      replies.push(second.emitWithAck(event, event === EVENT.start ? asked : resume));
      // The second request has been carried out by then, as far as it needs no reply from Redis.
      await other.emitWithAck(EVENT.start, { query: 'other', window: 1_000 });
      isHeld = false;
      for (const reply of await Promise.all(replies)) {
        expect(reply).toMatchObject({ ok: true, attempt: 1 });
        expect(reply).not.toHaveProperty('reset');
      }
    },
  );

  it.each<[string, ScriptName]>([
    ['its claim', 'claim'],
    ['the read of the log that it claims', 'follow'],
  ])(
    'that break before a server has the reply to %s leave no answer without an owner',
    async (_, script) => {
      const redis = await startRedis();
      const scripts = loadScripts();
      // A script that Redis knows runs at the first call.
      for (const name of ['claim', 'follow'] as const)
        await redis.command('SCRIPT', 'LOAD', scripts[name].source);
      const owner = await startNode(redis.url);
      const started = sdk(owner.url, ME).start({ query: 'count 1000 20' });
      await snapshotWhen(started, ({ text }) => text.length > 20);
      const proxy = await redisProxy(redis.url);
      const { provider, nextCall } = stage();
      const heir = await startServer(provider, { redis: { url: proxy.url } });
      let silent: object | undefined;
      proxy.drops = (connection) => {
        if (connection.sent.includes(scripts[script].sha1)) silent ??= connection;
        return connection === silent;
      };
      await owner.stop('SIGKILL');
      await vi.waitFor(() => expect(silent).toBeDefined(), 15_000);
      const answer = sdk(heir.url, ME).resume(started.id);
      const call = await nextCall();
      call.say('All of it.');
      call.finish();
      expect(await answer.result).toMatchObject({
        status: 'done',
        text: 'All of it.',
        attempt: 201,
      });
    },
  );

  it('that Redis cuts because a server does not read its messages cost no text', async () => {
    // The text is read after the connection was opened again, or when a silent log is looked up.
    const limit = ['--client-output-buffer-limit', 'pubsub', '1mb', '1mb', '60'];
    const { redis, proxy, a, b } = await behindProxy(...limit);
    const owner = sdk(b.url, ME).start({ query: 'q' });
    const call = await b.nextCall();
    call.say('Where a ');
    const follower = sdk(a.url, ME).resume(owner.id);
    await snapshotWhen(follower, ({ text }) => text === 'Where a ');
    let paused: ProxiedConnection | undefined;
    proxy.pauses = (connection) => {
      // Only streams have a message for each heartbeat.
      if (connection.sent.includes('-subscriber-')) paused ??= connection;
      return connection === paused;
    };
    await vi.waitFor(() => expect(paused).toBeDefined());
    const [name = '', node = ''] = /rivulet-subscriber-([\w-]{36})/.exec(paused!.sent) ?? [];
    const idOf = async (): Promise<string | undefined> => {
      const clients = String(await redis.command('CLIENT', 'LIST', 'TYPE', 'pubsub'));
      return /^id=\d+/.exec(clients.split('\n').find((line) => line.includes(name)) ?? '')?.[0];
    };
    const before = await idOf();
    expect(before).toBeDefined();
    // Other messages fill what the server does not read.
    const filler = `[${' '.repeat(500_000)}]`;
    for (let i = 0; i < 100 && (await idOf()) === before; i++)
      await redis.command('PUBLISH', `rivulet:v1{rv}:in:${node}`, filler);
    expect(await idOf()).not.toBe(before);
    call.say('river ');
    await snapshotWhen(owner, ({ text }) => text === 'Where a river ');
    call.say('ends.');
    call.finish();
    const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
    expect(await follower.result).toMatchObject(done);
    expect(await owner.result).toMatchObject(done);
  });
});
