import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { ConfigError, createServer } from '@rivulet/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createCertificate } from '../harness/certificate.js';
import { cluster } from '../harness/cluster/servers.js';
import { startNode } from '../harness/cluster/cluster.js';
import { attachedServer } from '../harness/attached.js';
import { providersOf } from '../harness/providers.js';
import { startRedis, type TestRedis } from '../harness/redis.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';
import { keepingLogger } from '../harness/users.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const PASSWORD = 'correct-horse';

/** An answer of one server that is read through the other one. */
async function isServed({ a, b }: Pick<Awaited<ReturnType<typeof cluster>>, 'a' | 'b'>) {
  const first = sdk(a.url, ME).start({ query: `q${Math.random()}` });
  const call = await a.nextCall();
  call.say('Where a ');
  const second = sdk(b.url, ME).resume(first.id);
  await snapshotWhen(second, ({ text }) => text === 'Where a ');
  call.say('river ends.');
  call.finish();
  expect(await second.result).toMatchObject({ text: 'Where a river ends.', attempt: 1 });
}

/** A Redis with TLS, and with a user who may only use keys and channels of one prefix. */
async function secureRedis() {
  const { folder, certificate: ca, key } = createCertificate();
  const tls = ['--tls-cert-file', ca, '--tls-key-file', key, '--tls-ca-cert-file', ca];
  const redis = await startRedis(...tls, '--tls-auth-clients', 'no');
  const rules = ['on', `>${PASSWORD}`, '~chat:*', '&chat:*', '+@all', '-@dangerous', '+info'];
  await redis.command('ACL', 'SETUSER', 'rivulet', ...rules);
  const { port } = new URL(redis.url);
  const urlFor = (user: string, password: string, protocol = 'rediss'): string =>
    `${protocol}://${user}:${password}@127.0.0.1:${port}`;
  return { redis, ca, urlFile: join(folder, 'url'), urlFor };
}

describe('a Redis with TLS and users', () => {
  it('is used with REDIS_URL_FILE, REDIS_CA_FILE and a key prefix by a user who may use no other keys', async () => {
    const { redis, ca, urlFile, urlFor } = await secureRedis();
    writeFileSync(urlFile, `${urlFor('rivulet', PASSWORD)}\n`);
    const env = { REDIS_URL_FILE: urlFile, REDIS_CA_FILE: ca, REDIS_KEY_PREFIX: 'chat:' };
    const start = async () => {
      const played = stage();
      const server = await startServer(played.provider, { env });
      return { ...played, server, url: server.url };
    };
    await isServed({ a: await start(), b: await start() });
    const keys = (await redis.command('KEYS', '*')) as string[];
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.filter((key) => !key.startsWith('chat:'))).toEqual([]);
  });

  it.each<
    [string, (urlFor: (...args: [string, string, string?]) => string, ca: string) => object, RegExp]
  >([
    [
      'a wrong password',
      (url, ca) => ({ url: url('rivulet', 'wrong-horse'), ca, keyPrefix: 'chat:' }),
      /refuses the user or the password of REDIS_URL/,
    ],
    [
      'keys that the user may not use',
      (url, ca) => ({ url: url('rivulet', PASSWORD), ca }),
      /may not do what is needed/,
    ],
    [
      'an authority that is not known',
      (url) => ({ url: url('rivulet', PASSWORD), keyPrefix: 'chat:' }),
      /REDIS_CA_FILE/,
    ],
    [
      'a URL without TLS',
      (url) => ({ url: url('rivulet', PASSWORD, 'redis'), keyPrefix: 'chat:' }),
      /speaks TLS; use rediss:/,
    ],
  ])('has the server say what to do at the start about %s', async (_, settings, message) => {
    const { ca, urlFor } = await secureRedis();
    const { logger, logged } = keepingLogger();
    const redis = settings(urlFor, readFileSync(ca, 'utf8'));
    const started = createServer({
      env: {},
      port: 0,
      logger,
      redis,
      providers: providersOf(stage().provider),
    });
    const error: unknown = await started.then(
      (server) => server.close(),
      (cause: unknown) => cause,
    );
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ message: expect.stringMatching(message) });
    expect(`${JSON.stringify(logged)} ${(error as Error).message}`).not.toMatch(/horse/);
  });

  it.each([[[]], [['--requirepass', PASSWORD]]])(
    'is told from one without TLS at the start: %j',
    async (args) => {
      const { url } = await startRedis(...args);
      const redis = { url: url.replace('redis:', 'rediss:') };
      const providers = providersOf(stage().provider);
      const { logger } = keepingLogger();
      await expect(createServer({ env: {}, port: 0, logger, redis, providers })).rejects.toThrow(
        /speaks no TLS; use redis:/,
      );
    },
  );
});

describe('attachRivulet with Redis', () => {
  it('reads the streams of a server, and leaves its own to it when it is closed', async () => {
    const redis = await startRedis();
    const { a, b } = await cluster({}, redis);
    const own = stage();
    const { url, rivulet } = await attachedServer(own.provider, { redis: { url: redis.url } });
    const first = sdk(a.url, ME).start({ query: 'q' });
    const call = await a.nextCall();
    call.say('Where a ');
    await vi.waitFor(async () => {
      const second = sdk(url, ME).resume(first.id);
      await snapshotWhen(second, ({ text }) => text === 'Where a ');
    });
    const mine = sdk(url, ME).start({ query: 'mine' });
    (await own.nextCall()).say('Here ');
    await snapshotWhen(mine, ({ text }) => text === 'Here ');
    const there = sdk(a.url, ME).resume(mine.id);
    await snapshotWhen(there, ({ text }) => text === 'Here ');
    const gone = vi.waitFor(async () => {
      const leases = (await redis.command('ZRANGE', 'rivulet:v1{rv}:n', '0', '-1')) as string[];
      expect(leases).toHaveLength(2);
    }, 10_000);
    rivulet.close();
    const again = await Promise.race([a.nextCall(), b.nextCall()]);
    again.say('Here again.');
    again.finish();
    expect(await there.result).toMatchObject({ text: 'Here again.', attempt: 101 });
    await gone;
  });
});

/** An address that leads to one of several Redis. */
async function movable(target: string) {
  const state = { target };
  const open = new Set<Socket>();
  const server = createTcpServer((near) => {
    const far = connectTcp(Number(new URL(state.target).port), '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return { url: `redis://127.0.0.1:${port}`, state };
}

describe('a failover from a primary to its replica, behind one address', () => {
  it.each(['that becomes a replica', 'that dies'])(
    '%s has all text reach all readers',
    async (how) => {
      const args = ['--repl-diskless-sync-delay', '0'];
      const [one, two] = [await startRedis(...args), await startRedis(...args)];
      const { port } = new URL(one.url);
      await two.command('REPLICAOF', '127.0.0.1', port);
      const { url, state } = await movable(one.url);
      const nodes = await cluster({}, one, url);
      const first = sdk(nodes.a.url, ME).start({ query: 'q' });
      const call = await nodes.a.nextCall();
      call.say('Where a ');
      const second = sdk(nodes.b.url, ME).resume(first.id);
      await snapshotWhen(second, ({ text }) => text === 'Where a ');
      await vi.waitFor(
        async () =>
          expect(String(await two.command('INFO', 'replication'))).toContain(
            'master_link_status:up',
          ),
        15_000,
      );
      await two.command('REPLICAOF', 'NO', 'ONE');
      state.target = two.url;
      if (how === 'that dies') await one.stop();
      else await one.command('REPLICAOF', '127.0.0.1', new URL(two.url).port);
      call.say('river ');
      await snapshotWhen(first, ({ text }) => text === 'Where a river ');
      await snapshotWhen(second, ({ text }) => text === 'Where a river ');
      call.say('ends.');
      call.finish();
      const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
      expect(await first.result).toMatchObject(done);
      expect(await second.result).toMatchObject(done);
    },
  );
});

/** Nodes of a cluster that share the slots. */
async function redisCluster(count: number): Promise<TestRedis[]> {
  const nodes = await Promise.all(
    Array.from({ length: count }, () =>
      startRedis('--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'),
    ),
  );
  const [first] = nodes;
  for (const node of nodes.slice(1)) {
    await first!.command('CLUSTER', 'MEET', '127.0.0.1', new URL(node.url).port);
  }
  const size = Math.ceil(16_384 / count);
  for (const [i, node] of nodes.entries()) {
    const last = Math.min(16_383, (i + 1) * size - 1);
    await node.command('CLUSTER', 'ADDSLOTSRANGE', `${i * size}`, `${last}`);
  }
  for (const node of nodes)
    await vi.waitFor(
      async () =>
        expect(String(await node.command('CLUSTER', 'INFO'))).toContain('cluster_state:ok'),
      20_000,
    );
  return nodes;
}

describe('a Redis Cluster', () => {
  it.each([1, 3])('of %i nodes is used through each of them', async (count) => {
    const nodes = await redisCluster(count);
    for (const node of nodes) await isServed(await cluster({ concurrency: 1 }, node));
  });

  it('whose slot moves to another node goes on with it', async () => {
    const nodes = await redisCluster(3);
    const used = await cluster({}, nodes[0]);
    await isServed(used);
    const slot = String(await nodes[0]!.command('CLUSTER', 'KEYSLOT', 'rivulet:v1{rv}:n'));
    const counts = await Promise.all(
      nodes.map((node) => node.command('CLUSTER', 'COUNTKEYSINSLOT', slot)),
    );
    const owner = nodes[counts.findIndex((keys) => Number(keys) > 0)]!;
    const target = nodes.find((node) => node !== owner)!;
    const [from, to] = [
      String(await owner.command('CLUSTER', 'MYID')),
      String(await target.command('CLUSTER', 'MYID')),
    ];
    await target.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from);
    await owner.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to);
    // From here on new keys go to the target. The owner gives the slot away only without keys.
    await owner.command('FLUSHALL');
    for (const node of [target, owner, ...nodes])
      await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', to);
    await isServed(used);
    expect(Number(await target.command('CLUSTER', 'COUNTKEYSINSLOT', slot))).toBeGreaterThan(0);
  });
});

it('the process exits with 78 and one line where Redis refuses the password', async () => {
  const redis = await startRedis('--requirepass', PASSWORD);
  const url = redis.url.replace('redis://', 'redis://:wrong-horse@');
  const started = startNode(url).then(
    () => 'started',
    (error: unknown) => String(error),
  );
  const text = await started;
  expect(text).toContain('refuses the user or the password');
  expect(text).not.toContain('horse');
});
