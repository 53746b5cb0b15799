import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { EVENT } from '@rivulet/protocol';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { cluster } from '../harness/cluster/servers.js';
import { freePort } from '../harness/free-port.js';
import { cuttableLink } from '../harness/link.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { redisProxy } from '../harness/redis-proxy.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';
import { keepingLogger } from '../harness/users.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };

async function readiness(url: string): Promise<string> {
  const response = await fetch(`${url}/readyz`);
  return `${response.status} ${await response.text()}`;
}

/** An answer of `a` that is read through both servers. */
async function reading(options: Parameters<typeof cluster>[0] = {}, ...redisArgs: string[]) {
  const redis = await startRedis(...redisArgs);
  const nodes = await cluster(options, redis);
  const { a, b } = nodes;
  const first = sdk(a.url, ME).start({ query: 'q' });
  const call = await a.nextCall();
  call.say('Where a ');
  const second = sdk(b.url, ME).resume(first.id);
  await snapshotWhen(second, ({ text }) => text === 'Where a ');
  return { ...nodes, first, second, call };
}

interface Fault {
  /** Called with a Redis. */
  readonly begin: (redis: TestRedis) => unknown;
  readonly end: (redis: TestRedis) => unknown;
  /** The advice in the log; also the problem that `/readyz` gives, unless there is another. */
  readonly hint: string;
  readonly problem?: string;
}

const NOT_REACHED = {
  hint: 'Check that it runs, and REDIS_URL',
  problem: 'not reached. Check that it runs, and REDIS_URL',
};
const AWAY_LINES = `200 degraded\nredis: ${NOT_REACHED.problem}\n`;

describe.each<[string, Fault]>([
  [
    'that is stopped',
    {
      begin: (redis) => redis.signal('SIGSTOP'),
      end: (redis) => redis.signal('SIGCONT'),
      ...NOT_REACHED,
    },
  ],
  [
    'that is gone',
    { begin: (redis) => redis.stop(), end: (redis) => redis.start(), ...NOT_REACHED },
  ],
  [
    'without the replicas that it needs',
    {
      begin: (redis) => redis.command('CONFIG', 'SET', 'min-replicas-to-write', '1'),
      end: (redis) => redis.command('CONFIG', 'SET', 'min-replicas-to-write', '0'),
      hint: 'Redis takes no writes without its replicas; start them, or lower min-replicas-to-write',
    },
  ],
  [
    'that takes rights from its user',
    {
      begin: (redis) => redis.command('ACL', 'SETUSER', 'default', '-evalsha'),
      end: (redis) => redis.command('ACL', 'SETUSER', 'default', '+evalsha'),
      hint: 'the user of REDIS_URL may not do what is needed; allow it all commands but @dangerous, INFO, and the keys and channels with REDIS_KEY_PREFIX (`ACL SETUSER`)',
    },
  ],
])('a Redis %s', (_, { begin, end, hint, problem = hint }) => {
  it('costs local readers nothing, and is told; once it is back, all have the same text', async () => {
    const { logger, logged } = keepingLogger();
    const { redis, a, b, first, second, call } = await reading({ logger });
    await begin(redis);
    call.say('river ');
    await snapshotWhen(first, ({ text }) => text === 'Where a river ');
    const local = sdk(a.url, ME).start({ query: 'local' });
    const other = await a.nextCall();
    other.say('Here.');
    await snapshotWhen(local, ({ text }) => text === 'Here.');
    expect(await readiness(a.url)).toBe(`200 degraded\nredis: ${problem}\n`);
    const lost = logged.find(({ event }) => event === 'REDIS_LOST');
    expect(lost).toMatchObject({ hint, err: { type: expect.stringMatching(/Error/) } });
    // Neither had lost Redis before.
    const reached = logged.filter(({ event }) => event === 'REDIS_REACHED');
    expect(reached).toEqual([{ event: 'REDIS_REACHED' }, { event: 'REDIS_REACHED' }]);
    await end(redis);
    await vi.waitFor(async () => expect(await readiness(b.url)).toBe('200 ready\n'));
    call.say('ends.');
    call.finish();
    const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
    expect(await first.result).toMatchObject(done);
    expect(await second.result).toMatchObject(done);
    other.finish();
    expect(await local.result).toMatchObject({ text: 'Here.' });
    const there = sdk(b.url, ME).resume(local.id);
    expect(await there.result).toMatchObject({ status: 'done', text: 'Here.' });
    expect(b.calls).toHaveLength(0);
  });
});

describe('forget without Redis', () => {
  it('removes the streams of this server, and rejects because others may have some', async () => {
    const authenticate = () => ({ principal: 'me' });
    const { redis, a, first } = await reading({ authenticate, cache: { enabled: false } });
    await redis.stop();
    await expect(a.server.forget('me')).rejects.toThrow('unable to remove the streams of a user');
    expect(await first.result).toMatchObject({ status: 'cancelled' });
    await redis.start();
    await vi.waitFor(async () => expect(await readiness(a.url)).toBe('200 ready\n'));
    await expect(a.server.forget('me')).resolves.toBeUndefined();
  });
});

describe('a Redis that cannot be reached when the server starts', () => {
  it('is told, and streams are those of the process until it can be', async () => {
    const redis = await startRedis();
    await redis.stop();
    const { provider, nextCall } = stage();
    const { logger, logged } = keepingLogger();
    const server = await startServer(provider, { logger, redis: { url: redis.url } });
    const missed = logged.find(({ event }) => event === 'REDIS_NOT_REACHED');
    expect(missed).toMatchObject({
      hint: NOT_REACHED.hint,
      err: { type: expect.stringMatching(/Error$/) },
    });
    expect(await readiness(server.url)).toBe(AWAY_LINES);
    const answer = sdk(server.url, ME).start({ query: 'q' });
    (await nextCall()).say('Here.');
    await snapshotWhen(answer, ({ text }) => text === 'Here.');
    await redis.start();
    await vi.waitFor(async () => expect(await readiness(server.url)).toBe('200 ready\n'));
  });
});

// Lost messages are noticed by a gap, read after the connection was opened again, or found by a look at a silent log.
// The test fails only without all three.
describe('an answer is exact while', () => {
  it.each<[string, (command: (...args: string[]) => Promise<unknown>) => Promise<unknown>]>([
    ['Redis forgets its scripts', (command) => command('SCRIPT', 'FLUSH')],
    [
      'connections that subscribe are cut',
      (command) => command('CLIENT', 'KILL', 'TYPE', 'pubsub'),
    ],
    ['all connections are cut', (command) => command('CLIENT', 'KILL', 'TYPE', 'normal')],
  ])('%s', async (_, fault) => {
    const { redis, first, second, call, b } = await reading();
    let text = 'Where a ';
    for (let i = 0; i < 300; i++) {
      call.say(`${i} `);
      text += `${i} `;
      if (i % 20 === 0) await fault(redis.command);
      await wait(10);
    }
    call.finish();
    const done = { status: 'done', text, attempt: 1 };
    expect(await first.result).toMatchObject(done);
    expect(await second.result).toMatchObject(done);
    expect(await sdk(b.url, ME).resume(first.id).result).toMatchObject(done);
  });
});

describe('an outage that outlives the time for which readers are awaited', () => {
  it('does not end the answers of connected readers', async () => {
    const redis = await startRedis();
    const proxy = await redisProxy(redis.url);
    const { a, b } = await cluster({}, redis, proxy.url);
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    const second = sdk(b.url, ME).resume(first.id);
    await snapshotWhen(second, ({ text }) => text === 'Where a ');
    proxy.refuses = true;
    for (const type of ['normal', 'pubsub']) await redis.command('CLIENT', 'KILL', 'TYPE', type);
    call.say('river ');
    await snapshotWhen(first, ({ text }) => text === 'Where a river ');
    // The time of the last renewal is over.
    for (const key of (await redis.command('KEYS', '*:r:*')) as string[])
      await redis.command('DEL', key);
    const [due = ''] = (await redis.command('KEYS', '*:due')) as string[];
    const [sid = ''] = (await redis.command('ZRANGE', due, '0', '-1')) as string[];
    await redis.command('ZADD', due, 'XX', '1', sid);
    proxy.refuses = false;
    const isDue = async (): Promise<boolean> =>
      Number(await redis.command('ZSCORE', due, sid)) <= Date.now();
    await vi.waitFor(async () => expect(await isDue()).toBe(false));
    call.say('ends.');
    call.finish();
    const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
    expect(await first.result).toMatchObject(done);
    expect(await second.result).toMatchObject(done);
  });
});

describe('a connection that delivers no messages', () => {
  it('is noticed, also where the lost message is the last one', async () => {
    const redis = await startRedis();
    const proxy = await redisProxy(redis.url);
    const { a, b } = await cluster({}, redis, proxy.url);
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    const second = sdk(b.url, ME).resume(first.id);
    await snapshotWhen(second, ({ text }) => text === 'Where a ');
    proxy.drops = ({ sent }) => sent.includes('rivulet-subscriber');
    call.say('river ends.');
    call.finish();
    expect(await second.result).toMatchObject({ status: 'done', text: 'Where a river ends.' });
  });

  it('does not bring back the streams of a user who is forgotten meanwhile', async () => {
    const redis = await startRedis();
    const proxy = await redisProxy(redis.url);
    const authenticate = () => ({ principal: 'me' });
    const { a, b } = await cluster({ authenticate }, redis, proxy.url);
    const socket = connect(a.url);
    const ended = collect(socket);
    await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const call = await a.nextCall();
    proxy.drops = ({ sent }) => sent.includes('rivulet-subscriber');
    await b.server.forget('me');
    call.say('Where a ');
    expect((await ended).terminal).toMatchObject({ code: 'cancelled' });
    await call.aborted;
    const keys = (await redis.command('KEYS', '*')) as string[];
    expect(keys.filter((key) => /\}:[sglqmrph]:/.test(key))).toEqual([]);
    expect(await socket.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0 })).toMatchObject({
      error: { code: 'not_found' },
    });
  });
});

describe('a Redis without room', () => {
  it('takes no new streams, and running ones end for their local readers', async () => {
    const { redis, a, first, call } = await reading({}, '--maxmemory', '20mb');
    const filler = 'x'.repeat(1_000_000);
    for (let i = 0; i < 30; i++) await redis.command('SET', `fill-${i}`, filler).catch(() => {});
    const socket = connect(a.url, { browser_id: ME.browserId });
    await vi.waitFor(async () =>
      expect(await readiness(a.url)).toMatch(/^200 degraded\nredis: its memory is used up/),
    );
    const before = (await redis.command('KEYS', '*')) as string[];
    expect(await socket.emitWithAck(EVENT.start, { query: 'other', stream_id: 'B' })).toMatchObject(
      { error: { code: 'overloaded' } },
    );
    expect(await redis.command('KEYS', '*')).toHaveLength(before.length);
    call.say('river ends.');
    call.finish();
    expect(await first.result).toMatchObject({ status: 'done', text: 'Where a river ends.' });
  });

  it('that would evict streams is told at the start, and takes none', async () => {
    const redis = await startRedis('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru');
    const { logger, logged } = keepingLogger();
    const { provider, calls } = stage();
    const server = await startServer(provider, { logger, redis: { url: redis.url } });
    expect(logged).toContainEqual(
      expect.objectContaining({
        event: 'REDIS_EVICTS',
        policy: 'allkeys-lru',
        hint: 'Set maxmemory-policy to noeviction',
      }),
    );
    expect(await readiness(server.url)).toMatch(/^200 degraded\nredis: maxmemory-policy/);
    const socket = connect(server.url, { browser_id: ME.browserId });
    expect(await socket.emitWithAck(EVENT.start, { query: 'other', stream_id: 'B' })).toMatchObject(
      { error: { code: 'overloaded' } },
    );
    expect(calls).toHaveLength(0);
  });
});

describe('a Redis that has become a replica', () => {
  it('is left, and a primary at the same address is used', async () => {
    const { redis, first, second, call } = await reading();
    await redis.command('REPLICAOF', '127.0.0.1', '1');
    call.say('river ');
    await snapshotWhen(first, ({ text }) => text === 'Where a river ');
    await redis.command('REPLICAOF', 'NO', 'ONE');
    call.say('ends.');
    call.finish();
    const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
    expect(await first.result).toMatchObject(done);
    expect(await second.result).toMatchObject(done);
  });
});

describe('a process that is cut off from Redis', () => {
  it('serves its readers, and leads them to the attempt of another process afterwards', async () => {
    const redis = await startRedis();
    const link = await cuttableLink(redis.url);
    const url = link.url.replace('http:', 'redis:');
    const a = stage();
    const b = stage();
    const [cutOff, other] = [
      await startServer(a.provider, { redis: { url } }),
      await startServer(b.provider, { redis: { url: redis.url } }),
    ];
    const first = sdk(cutOff.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    const second = sdk(other.url, ME).resume(first.id);
    await snapshotWhen(second, ({ text }) => text === 'Where a ');
    const plain = connect(cutOff.url, { browser_id: ME.browserId });
    const collected = collect(plain);
    const chunk = next(plain, EVENT.chunk);
    await plain.emitWithAck(EVENT.resume, { stream_id: first.id, offset: 0 });
    await chunk;
    link.down();
    const local = 'brook that nobody else has seen goes on for quite a while ';
    call.say(local);
    await snapshotWhen(first, ({ text }) => text === `Where a ${local}`);
    const again = await b.nextCall();
    again.say('Rivers ');
    await snapshotWhen(second, ({ attempt, text }) => attempt === 101 && text === 'Rivers ');
    link.up();
    await snapshotWhen(first, ({ attempt, text }) => attempt === 101 && text === 'Rivers ');
    await call.aborted;
    expect((await collected).terminal).toMatchObject({ code: 'interrupted' });
    again.say('end.');
    again.finish();
    const done = { status: 'done', text: 'Rivers end.', attempt: 101 };
    expect(await first.result).toMatchObject(done);
    expect(await second.result).toMatchObject(done);
  });
});

describe('a connection to Redis that breaks for a moment', () => {
  it('does not make a question that comes meanwhile one of its server alone', async () => {
    const { redis, a, b } = await cluster();
    for (let i = 0; i < 5; i++) {
      await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await vi.waitFor(async () => expect(await readiness(a.url)).toMatch('degraded'), {
        interval: 5,
      });
      const answer = sdk(a.url, ME).start({ query: `q ${i}`, options: { cache: 'no-store' } });
      const call = await a.nextCall();
      call.say('Where a ');
      await snapshotWhen(answer, ({ text }) => text !== '');
      const reader = sdk(b.url, ME).resume(answer.id);
      await snapshotWhen(reader, ({ text }) => text !== '');
      call.finish();
      expect(await reader.result).toMatchObject({ status: 'done', text: 'Where a ', attempt: 1 });
    }
  });
});

describe('a Redis that answers its commands with an error', () => {
  async function started(error: string | undefined) {
    const proxy = await redisProxy((await startRedis()).url);
    proxy.fails = error;
    const { logger, logged } = keepingLogger();
    const server = await startServer(stage().provider, { logger, redis: { url: proxy.url } });
    return { proxy, logged, ...server };
  }

  const SECRET = 'the-question-of-a-user';

  it.each(['at the start', 'later'])(
    'is told by its first word, once in 10 s, and in a line of its own at /readyz: %s',
    async (when) => {
      const error = `ERR unknown command, with args beginning with: '${SECRET}'`;
      const { proxy, logged, url } = await started(when === 'later' ? undefined : error);
      if (when === 'later') {
        await vi.waitFor(async () => expect(await readiness(url)).toBe('200 ready\n'));
        proxy.fails = error;
      }
      const hint = 'Check that it is Redis 7 or later with all its commands, and its log';
      await vi.waitFor(
        async () =>
          expect(await readiness(url)).toBe(
            `200 degraded\nredis: answers with an error (ERR). ${hint}\n`,
          ),
        5_000,
      );
      // Several heartbeats.
      await wait(2_000);
      const failed = logged.filter(({ event }) => event === 'REDIS_FAILED');
      expect(failed).toEqual([expect.objectContaining({ reply: 'ERR', hint })]);
      expect(logged.filter(({ event }) => event === 'REDIS_NOT_REACHED')).toEqual([]);
      expect(JSON.stringify(logged)).not.toContain(SECRET);
      proxy.fails = undefined;
      await vi.waitFor(async () => expect(await readiness(url)).toBe('200 ready\n'));
    },
  );

  it('is full if the error is OOM, also where the heartbeat gets it', async () => {
    const { logged, url } = await started(`OOM command not allowed: ${SECRET}`);
    expect(await readiness(url)).toBe(
      '200 degraded\nredis: its memory is used up. Raise maxmemory\n',
    );
    await wait(1_000);
    const events = logged.map(({ event }) => event).filter((event) => /REDIS/.test(event));
    expect(events).toEqual(['REDIS_FULL']);
  });
});

describe('the detail of a Redis that cannot be reached', () => {
  /** A server that listens, and leaves all connections without an answer. */
  async function silentPort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1');
    const sockets = new Set<Socket>();
    server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
    await once(server, 'listening');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  }

  it.each<[string, () => Promise<string>, string]>([
    ['refuses connections', async () => `redis://127.0.0.1:${await freePort()}`, 'ECONNREFUSED'],
    [
      'has a host that does not exist',
      async () => 'redis://redis.invalid:6379',
      'ENOTFOUND|EAI_AGAIN|it did not answer',
    ],
    ['is silent', async () => `redis://127.0.0.1:${await silentPort()}`, 'it did not answer'],
    [
      'loads its data',
      async () => {
        const redis = await startRedis();
        const proxy = await redisProxy(redis.url);
        proxy.fails = 'LOADING Redis is loading the dataset in memory';
        return proxy.url;
      },
      'LOADING',
    ],
  ])('says that it %s', async (_, urlOf, detail) => {
    const { logger, logged } = keepingLogger();
    await startServer(stage().provider, { logger, redis: { url: await urlOf() } });
    const missed = logged.filter(({ event }) => event === 'REDIS_NOT_REACHED');
    expect(missed).toEqual([
      expect.objectContaining({ detail: expect.stringMatching(`^(${detail})$`) }),
    ]);
  });
});
