import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createClient } from '@rivulet/client';
import { EVENT, type StreamErrorMessage } from '@rivulet/protocol';
import type { Authenticate } from '@rivulet/server';
import { io as connectTo, type Socket } from 'socket.io-client';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type * as LimiterModule from '../../packages/server/src/socket/connection-limiter.js';
import { attachedServer } from '../harness/attached.js';
import type { Costs, FromServer } from '../harness/attacked-server.js';
import { type Peer, startPeer } from '../harness/peer.js';
import { connect, next } from '../harness/plain-client.js';
import { ask, openPolling, openWebSocket } from '../harness/raw-client.js';
import { refused } from '../harness/refused.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';

type Limiter = LimiterModule.ConnectionLimiter;

const limiters = vi.hoisted((): Limiter[] => []);
vi.mock('../../packages/server/src/socket/connection-limiter.js', async (importOriginal) => {
  const original = await importOriginal<typeof LimiterModule>();
  const createConnectionLimiter: typeof original.createConnectionLimiter = (options) => {
    const limiter = original.createConnectionLimiter(options);
    limiters.push(limiter);
    return limiter;
  };
  return { ...original, createConnectionLimiter };
});

/** The limiter of the server that was started last. */
const limiter = (): Limiter => limiters.at(-1)!;

const EMPTY = { connections: 0, handshakes: 0, principals: 0, addresses: 0, authenticating: 0 };
const isEmpty = () => expect.poll(() => limiter().size).toEqual(EMPTY);
const MB = 1_000_000;
const list = (id: number) => `42${id}["${EVENT.list}",{}]`;
const times = <T>(count: number, create: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => create(index));

/** A visitor from an address of its own. */
function visit(url: string, localAddress: string, auth: Record<string, unknown> = {}): Socket {
  const options = { auth, forceNew: true, transports: ['websocket'], reconnection: false };
  const socket = connectTo(url, { ...options, ...({ localAddress } as object) });
  onTestFinished(() => void socket.disconnect());
  return socket;
}

const serves = async (socket: Socket): Promise<void> => {
  expect(await socket.timeout(10_000).emitWithAck(EVENT.list, {})).toMatchObject({ ok: true });
};

async function attacked(
  place: string,
): Promise<{ url: string; costs: () => Promise<Costs>; peer: Peer<object, FromServer> }> {
  const file = new URL('../harness/attacked-server.ts', import.meta.url);
  const peer = startPeer<object, FromServer>(file, [place]);
  onTestFinished(() => peer.kill());
  const listening = await peer.next(({ type }) => type === 'listening');
  return {
    peer,
    url: listening.type === 'listening' ? listening.url : '',
    async costs() {
      const told = peer.next(({ type }) => type === 'costs');
      peer.send({});
      const message = await told;
      if (message.type !== 'costs') throw new Error('not the costs');
      return message.costs;
    },
  };
}

describe.each([
  ['a server of our own', 'own', ''],
  ['a namespace of a user’s server', '/answers', '/answers,'],
  ['the namespace `/` of a user’s server', '/', ''],
])('one payload of 20,000 packets to %s', (_, place, inNamespace) => {
  const path = place === 'own' ? '' : place;

  it('that connect makes few checks of credentials, costs little memory, and is refused', async () => {
    const { url, costs } = await attacked(place);
    const before = await costs();
    const client = await openPolling(url);
    const connects = times(20_000, (i) => `40${inNamespace}{"token":"made up ${i}"}`);
    const heard = client.pollUntil(/^44/);
    await client.post(connects).catch(() => {});
    expect((await heard).join(' ')).toMatch(/"code":"(bad_request|rate_limited)"/);
    const after = await costs();
    expect(after.authenticateCalls).toBeLessThanOrEqual(place === 'own' ? 1 : 10);
    expect(after.rssBytes - before.rssBytes).toBeLessThan(100 * MB);
    expect(after.cpuMs - before.cpuMs).toBeLessThan(3_000);
    await serves(connect(url + path));
  });

  it('that ask for the list costs little memory, and is refused', async () => {
    const { url, costs } = await attacked(place);
    const client = await openPolling(url);
    await client.post([`40${inNamespace}{"token":"mallory"}`]);
    await client.pollUntil(/^40/);
    const start = (i: number) =>
      `42${inNamespace}["${EVENT.start}",{"query":"${'é'.repeat(300)}${i}"}]`;
    await client.post(times(30, start));
    const before = await costs();
    const heard = client.pollUntil(/rate_limited/);
    await client
      .post(times(20_000, (i) => `42${inNamespace}${i}["${EVENT.list}",{}]`))
      .catch(() => {});
    expect((await heard).join(' ')).toContain(`"${EVENT.error}",{"type":"${EVENT.error}"`);
    const after = await costs();
    expect(after.rssBytes - before.rssBytes).toBeLessThan(100 * MB);
    expect(after.cpuMs - before.cpuMs).toBeLessThan(3_000);
    await serves(connect(url + path));
  });
});

describe('a connection past a limit', () => {
  it('is told so over WebSocket before it is closed, and not served on', async () => {
    const { url } = await startServer(stage().provider);
    const client = await openWebSocket(url);
    client.write('40');
    await client.hears(/^40/);
    for (let i = 0; i < 1_500; i++) client.write(list(i));
    expect(await client.hears(/rate_limited/)).toContain(EVENT.error);
    await client.closed;
    const replies = client.heard.filter((packet) => packet.startsWith('43'));
    expect(replies.length).toBeLessThan(1_100);
    await isEmpty();
  });

  it('is told so over polling, and its payload is answered', async () => {
    const { url } = await startServer(stage().provider);
    const client = await openPolling(url);
    await client.post(['40']);
    await client.pollUntil(/^40/);
    const heard = client.pollUntil(/rate_limited/);
    // The server has the poll: it answers this one.
    await client.post([list(0)]);
    const posted = client.post(times(1_500, list));
    expect((await heard).join(' ')).toContain(EVENT.error);
    expect((await posted).status).toBe(200);
    await isEmpty();
  });

  it.each(['40', '40/other,'])(
    'because it sends %s as a second CONNECT is told so',
    async (second) => {
      const { url } = await startServer(stage().provider);
      const client = await openWebSocket(url);
      client.write('40');
      await client.hears(/^40/);
      client.write(second);
      expect(await client.hears(/bad_request/)).toContain(EVENT.error);
      await client.closed;
      await isEmpty();
    },
  );

  it('of binary packets is closed, too', async () => {
    const { url } = await startServer(stage().provider, { limits: { maxBytesPerSecond: 1_000 } });
    const client = await openWebSocket(url);
    client.write('40');
    await client.hears(/^40/);
    client.write('451-["stream_list",{"_placeholder":true,"num":0}]');
    client.write(Buffer.alloc(10_000));
    expect(await client.hears(/rate_limited/)).toContain(EVENT.error);
    await client.closed;
  });

  it('of requests that wait is closed: 64 may come at once, 257 may not', async () => {
    const { url } = await startServer(stage().provider);
    const client = await openPolling(url);
    await client.post(['40']);
    await client.pollUntil(/^40/);
    await client.post(times(64, list));
    expect(
      (await client.pollUntil(/^43/)).filter((packet) => packet.startsWith('43')),
    ).toHaveLength(64);
    const posted = client.post(times(400, list));
    expect((await client.pollUntil(/^42/)).join(' ')).toContain('wait for their turn');
    await posted;
    await isEmpty();
  });

  it('is cut off though it does not answer the end of its connection', async () => {
    const server = await startServer(stage().provider);
    const socket = connectTcp(Number(new URL(server.url).port), '127.0.0.1');
    socket.on('error', () => {});
    const closed = once(socket, 'close');
    socket.write(UPGRADE);
    await once(socket, 'data');
    socket.write(maskedText('40'));
    await once(socket, 'data');
    socket.write(maskedText('40'));
    socket.resume();
    await expect(closed).resolves.toBeDefined();
    await isEmpty();
  });

  it('of stream_start for a stream that exists is charged for its bytes; others are served', async () => {
    const { provider } = stage();
    const { url } = await startServer(provider, { limits: { maxBytesPerSecond: 100_000 } });
    const visitor = visit(url, '127.0.0.2');
    await serves(visitor);
    const socket = connect(url);
    const context = times(10, () => ({ role: 'user', content: 'x'.repeat(10_000) }));
    const gone = next(socket, 'disconnect');
    const told = next<StreamErrorMessage>(socket, EVENT.error);
    for (let i = 0; i < 20; i++) socket.emit(EVENT.start, { query: 'q', stream_id: 'A', context });
    expect(await told).toMatchObject({ code: 'rate_limited', retryable: true });
    await gone;
    await serves(visitor);
  });
});

const UPGRADE =
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n' +
  'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';

function maskedText(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}

describe('a client of polling that leaves the namespace', () => {
  it('is not counted any more, though it does not poll', async () => {
    const { url } = await startServer(stage().provider);
    const client = await openPolling(url);
    await client.post(['40']);
    await client.pollUntil(/^40/);
    await client.post(['41']);
    await isEmpty();
  });
});

describe('the other namespaces of a user’s server', () => {
  async function shared(namespace: string, limits = { maxMessagesPerSecond: 10 }) {
    const server = await attachedServer(stage().provider, { namespace, limits });
    const own = namespace === '/' ? '/own' : '/';
    server.io.of(own).on('connection', (socket) => {
      socket.on('echo', (value, reply) => reply(value));
    });
    const client = await openWebSocket(server.url);
    client.write(own === '/' ? '40' : `40${own},`);
    await client.hears(/^40/);
    const prefix = namespace === '/' ? '' : `${namespace},`;
    const ownPrefix = own === '/' ? '' : `${own},`;
    return {
      ...server,
      client,
      prefix,
      async enter() {
        client.write(`40${prefix}{"browser_id":"the-browser-of-mallory"}`);
        await client.hears(namespace === '/' ? /^40\{/ : new RegExp(`^40${namespace},`));
      },
      async echoes(id: number) {
        client.write(`42${ownPrefix}${id}["echo",${id}]`);
        await client.hears(new RegExp(`^43${ownPrefix}${id}\\[`));
      },
      binary() {
        client.write(`451-${ownPrefix}["binary",{"_placeholder":true,"num":0}]`);
        client.write(Buffer.alloc(1_000));
      },
    };
  }

  it.each(['/', '/answers'])(
    'are not counted beside %s, nor are their attachments',
    async (name) => {
      const { client, prefix, enter, echoes, binary } = await shared(name);
      await enter();
      for (let i = 0; i < 200; i++) binary();
      for (let i = 0; i < 200; i++) await echoes(i);
      client.write(`42${prefix}900["${EVENT.list}",{}]`);
      expect(await client.hears(/^43.*900\[/)).toContain('"ok":true');
    },
  );

  it.each(['/', '/answers'])('survive when %s is left for what was sent there', async (name) => {
    const { client, prefix, enter, echoes } = await shared(name);
    await enter();
    for (let i = 0; i < 200; i++) client.write(`42${prefix}["${EVENT.list}",{}]`);
    await client.hears(/rate_limited/);
    // The data in progress does not reach Socket.IO, which would close the connection.
    for (let i = 0; i < 20; i++) client.write(`42${prefix}["${EVENT.list}",{}]`);
    await echoes(1);
    await expect.poll(() => limiter().size).toMatchObject({ connections: 0, handshakes: 0 });
    client.close();
    await isEmpty();
  });

  it.each(['/', '/answers'])('survive a second CONNECT to %s', async (name) => {
    const { client, prefix, enter, echoes } = await shared(name);
    await enter();
    client.write(`40${prefix}{}`);
    expect(await client.hears(/bad_request/)).toContain(EVENT.error);
    await echoes(1);
    expect(limiter().size.connections).toBe(0);
  });

  it('do not pass on a flood of CONNECTs to the middlewares', async () => {
    const { client, io, prefix, echoes } = await shared('/answers', {
      maxMessagesPerSecond: 1_000,
    });
    const ran = vi.fn<() => void>();
    io.of('/answers').use((_, decide) => {
      ran();
      decide(new Error('not here'));
    });
    for (let i = 0; i < 500; i++) {
      client.write(`40${prefix}`);
      if (i % 10 === 0) await echoes(i);
    }
    expect(client.heard.filter((packet) => packet.includes('rate_limited')).length).toBeGreaterThan(
      0,
    );
    expect(ran.mock.calls.length).toBeLessThan(20);
  });

  it('do not hide binary packets of ours, which are refused', async () => {
    const { client, prefix, enter, echoes } = await shared('/answers');
    await enter();
    for (let i = 0; i < 60; i++) {
      client.write(`451-${prefix}["${EVENT.list}",{"_placeholder":true,"num":0}]`);
      client.write(Buffer.alloc(10));
    }
    expect(await client.hears(/bad_request/)).toContain('binary');
    await echoes(1);
  });

  it('keep the connection on which ours is entered again', async () => {
    const { client, prefix, enter, echoes } = await shared('/answers');
    for (let i = 0; i < 3; i++) {
      client.heard.length = 0;
      await enter();
      expect(limiter().size).toMatchObject({ connections: 1, principals: 1 });
      client.write(`41${prefix}`);
      await echoes(i);
      await expect.poll(() => limiter().size).toMatchObject({ connections: 0, principals: 0 });
    }
  });

  it('may have a middleware that refuses whom we admitted, who may try again', async () => {
    const { client, io, enter } = await shared('/answers');
    let isOpen = false;
    io.of('/answers').use((_, decide) => decide(isOpen ? undefined : new Error('not yet')));
    client.write('40/answers,');
    await client.hears(/^44.*not yet/);
    isOpen = true;
    await enter();
    expect(limiter().size).toMatchObject({ connections: 1, principals: 1 });
    client.close();
    await isEmpty();
  });
});

describe('idle handshakes', () => {
  const limits = { maxHandshakesPerAddress: 8 };

  it('of one host lock out nobody, from its own address or another', async () => {
    const { url } = await startServer(stage().provider, { limits });
    const sources = times(14, (i) => i);
    const opened = await Promise.allSettled(
      sources.map((i) =>
        i % 2 === 0
          ? openPolling(url, { localAddress: '127.0.0.9' })
          : openWebSocket(url, { localAddress: '127.0.0.9' }),
      ),
    );
    expect(opened.map(({ status }) => status)).not.toContain('rejected');
    expect(limiter().size.handshakes).toBeLessThanOrEqual(8);
    await serves(visit(url, '127.0.0.2'));
    await serves(visit(url, '127.0.0.9'));
  });

  it('that one host opens ever again are refused in the end, and no other host’s', async () => {
    const { url } = await startServer(stage().provider, { limits });
    const open = () => openPolling(url, { localAddress: '127.0.0.9' });
    const opened = await Promise.allSettled(times(100, open));
    expect(opened.map(({ status }) => status)).toContain('rejected');
    await serves(visit(url, '127.0.0.2'));
  });

  it('of many hosts make room for new ones', async () => {
    const { url } = await startServer(stage().provider, {
      limits: { ...limits, maxConnections: 16 },
    });
    for (let i = 0; i < 30; i++) await openPolling(url, { localAddress: `127.0.1.${i + 1}` });
    expect(limiter().size.handshakes).toBe(8);
    await serves(visit(url, '127.0.0.2'));
  });

  it('do not end a connection whose credentials are being checked', async () => {
    let admit = (): void => {};
    const checked = new Promise<void>((resolve) => (admit = resolve));
    const { url } = await startServer(stage().provider, {
      limits,
      authenticate: async () => {
        await checked;
        return { principal: 'ada' };
      },
    });
    const socket = connect(url);
    await expect.poll(() => limiter().size.authenticating).toBe(1);
    for (let i = 0; i < 14; i++) await openPolling(url);
    admit();
    await serves(socket);
  });

  it('over one TCP connection add nothing to it, and are released when Engine.IO refuses them', async () => {
    const warned = vi.fn<(warning: Error) => void>();
    process.on('warning', warned);
    onTestFinished(() => void process.off('warning', warned));
    const { url } = await startServer(stage().provider, { limits });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const refusals = times(20, () => ask(`${url}/socket.io/?EIO=3&transport=polling`, { agent }));
    for (const { status } of await Promise.all(refusals)) expect(status).toBe(400);
    expect(limiter().size).toEqual(EMPTY);
    for (let i = 0; i < 14; i++) await openPolling(url, { agent });
    await nextTurn();
    expect(warned).not.toHaveBeenCalled();
  });
});

describe('the limits of an address', () => {
  it('bound its connections, and no other’s', async () => {
    const authenticate = vi.fn<Authenticate>(() => ({ principal: 'ada' }));
    const { url } = await startServer(stage().provider, {
      authenticate,
      limits: { maxConnectionsPerAddress: 2 },
    });
    const first = visit(url, '127.0.0.3');
    await serves(first);
    await serves(visit(url, '127.0.0.3'));
    expect(await refused(visit(url, '127.0.0.3'))).toMatchObject({ code: 'overloaded' });
    expect(authenticate).toHaveBeenCalledTimes(2);
    await serves(visit(url, '127.0.0.4'));
    first.disconnect();
    await expect.poll(() => limiter().size.connections).toBe(2);
    await serves(visit(url, '127.0.0.3'));
  });

  it('bound the tokens that are refused, and no other’s', async () => {
    const { url } = await startServer(stage().provider, {
      authenticate: ({ token }) => (token === 'good' ? { principal: 'ada' } : undefined),
    });
    const attempt = () => refused(visit(url, '127.0.0.5', { token: 'bad' }));
    for (let i = 0; i < 15; i++) await Promise.all(times(20, attempt));
    const error = await attempt();
    expect(error).toMatchObject({ code: 'rate_limited', retryable: true });
    expect(error.retry_after_ms).toBeGreaterThan(0);
    const visitor = visit(url, '127.0.0.6', { token: 'good' });
    await serves(visitor);
    visitor.disconnect();
    await isEmpty();
  });

  it('are not reset by reconnecting', async () => {
    const { url } = await startServer(stage().provider, { limits: { maxMessagesPerSecond: 2 } });
    let isLimited = false;
    // 20 times 10 messages at once is what one address may send, and 40 a second after that.
    while (!isLimited) {
      const client = await openWebSocket(url, { localAddress: '127.0.0.7' });
      client.write('40');
      await client.hears(/^40/);
      for (let id = 0; id < 8; id++) client.write(list(id));
      await client.hears(/^437|rate_limited/);
      isLimited = client.heard.some((packet) => packet.includes('rate_limited'));
      client.close();
      await expect.poll(() => limiter().size.connections, { interval: 5 }).toBe(0);
    }
    await serves(visit(url, '127.0.0.8'));
  });
});

describe('checks of credentials', () => {
  it('of 100 clients that come back at once wait for each other, and all are let in', async () => {
    let running = 0;
    let most = 0;
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => (open = resolve));
    const { url } = await startServer(stage().provider, {
      limits: { maxConnectionsPerPrincipal: 200 },
      authenticate: async () => {
        running += 1;
        most = Math.max(most, running);
        await opened;
        running -= 1;
        return { principal: 'ada' };
      },
    });
    const served = Promise.all(times(100, () => serves(connect(url))));
    await expect.poll(() => limiter().size.handshakes).toBe(100);
    await expect.poll(() => running).toBe(32);
    open();
    await served;
    expect(most).toBe(32);
  });

  it('that hang for clients which have left hold no place in the queue', async () => {
    const { url } = await startServer(stage().provider, {
      authenticate: ({ token }) =>
        token === 'good' ? { principal: 'ada' } : new Promise(() => {}),
    });
    const hanging = times(40, () => visit(url, '127.0.0.5', { token: 'bad' }));
    await expect.poll(() => limiter().size.handshakes).toBe(40);
    for (const socket of hanging) socket.disconnect();
    await expect.poll(() => limiter().size).toMatchObject({ handshakes: 0, connections: 0 });
    await serves(visit(url, '127.0.0.6', { token: 'good' }));
  });

  const FAULTS: [string, Authenticate, string][] = [
    [
      'throw',
      () => {
        throw new Error('no');
      },
      'internal',
    ],
    ['reject', () => Promise.reject(new Error('no')), 'internal'],
    ['reject with nothing', () => Promise.reject(), 'internal'],
    ['refuse', () => undefined, 'unauthorized'],
  ];
  it.each(FAULTS)('that %s count for nothing afterwards', async (_, authenticate, code) => {
    const { url } = await startServer(stage().provider, { authenticate });
    await Promise.all(
      times(10, async () => expect(await refused(connect(url))).toMatchObject({ code })),
    );
    await isEmpty();
  });

  it.each(['admits', 'rejects'])(
    'whose verdict %s a client that has left leave nothing',
    async (what) => {
      let decide: ((isAdmitted: boolean) => void) | undefined;
      const { url } = await startServer(stage().provider, {
        authenticate: () =>
          new Promise((resolve, reject) => {
            decide = (isAdmitted) =>
              isAdmitted ? resolve({ principal: 'ada' }) : reject(new Error('too late'));
          }),
      });
      const socket = connect(url);
      await expect.poll(() => decide).toBeDefined();
      socket.disconnect();
      await expect.poll(() => limiter().size.handshakes).toBe(0);
      decide?.(what === 'admits');
      await isEmpty();
    },
  );
});

describe('the limiter is empty after', () => {
  it('an origin is refused', async () => {
    const { url } = await startServer(stage().provider);
    const socket = connectTo(url, {
      extraHeaders: { origin: 'https://evil.example' },
      forceNew: true,
      reconnection: false,
      transports: ['websocket'],
    });
    await new Promise((resolve) => socket.once('connect_error', resolve));
    socket.disconnect();
    await isEmpty();
  });

  it('a connection is refused since the server drains', async () => {
    const server = await startServer(stage().provider);
    const drained = server.drain(1_000);
    expect(await refused(connect(server.url))).toMatchObject({ code: 'overloaded' });
    await isEmpty();
    await drained;
  });

  it.each([
    ['before the request ends', UPGRADE.slice(0, -4)],
    ['right after it', UPGRADE],
    ['with a key that is none', UPGRADE.replace(/Key: \S+/, 'Key: x')],
    ['for polling', UPGRADE.replace('transport=websocket', 'transport=polling')],
  ])('a TCP connection is reset while it upgrades, %s', async (_, head) => {
    const { url } = await startServer(stage().provider);
    for (let i = 0; i < 20; i++) {
      const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, 'connect');
      await new Promise((resolve) => socket.write(head, resolve));
      socket.resetAndDestroy();
    }
    await isEmpty();
    await serves(connect(url));
  });

  it('a client has changed from polling to WebSocket, and left; it counts until then', async () => {
    const server = await startServer(stage().provider);
    const socket = connectTo(server.url, { forceNew: true, reconnection: false });
    onTestFinished(() => void socket.disconnect());
    await next(socket, 'connect');
    await expect.poll(() => socket.io.engine.transport.name).toBe('websocket');
    server.http.closeIdleConnections();
    await serves(socket);
    expect(limiter().size).toMatchObject({ connections: 1, handshakes: 0, addresses: 1 });
    socket.disconnect();
    await isEmpty();
  });

  it('a client breaks off while it changes to WebSocket', async () => {
    const { url } = await startServer(stage().provider);
    for (let i = 0; i < 10; i++) {
      const socket = connectTo(url, { forceNew: true, reconnection: false });
      socket.on('connect_error', () => {});
      socket.io.engine.once('upgrading', () => socket.io.engine.close());
      await Promise.race([next(socket, 'disconnect'), next(socket, 'connect_error')]);
      socket.disconnect();
    }
    await isEmpty();
  });

  it('both tabs of a principal have left, and counts the one that has not', async () => {
    const { url } = await startServer(stage().provider);
    const me = { browser_id: 'the-browser-of-the-visitor' };
    const [first, second] = [connect(url, me), connect(url, me)];
    await Promise.all([serves(first), serves(second)]);
    expect(limiter().size).toMatchObject({ connections: 2, principals: 1 });
    first.disconnect();
    await expect.poll(() => limiter().size).toMatchObject({ connections: 1, principals: 1 });
    second.disconnect();
    await isEmpty();
  });
});

describe('an honest client', () => {
  it('of 200 that come back at once from one address is let in', async () => {
    const { url } = await startServer(stage().provider);
    await Promise.all(times(200, () => serves(connect(url))));
    expect(limiter().size).toMatchObject({ connections: 200, handshakes: 0 });
  });

  it('reads 20 fast streams without meeting a limit', async () => {
    const text = 'A river is water on its way. '.repeat(40);
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const statuses: string[] = [];
    const client = createClient({ url, cache: false });
    onTestFinished(() => client.close());
    client.connection$.subscribe(({ status }) => statuses.push(status));
    const answers = times(20, (i) => client.start({ query: `${i}` }));
    const calls = [];
    for (let i = 0; i < 20; i++) calls.push(await nextCall());
    for (let turn = 0; turn < 50; turn++) {
      for (const call of calls) call.say(text);
      await nextTurn();
    }
    for (const call of calls) call.finish();
    for (const { result } of answers) expect((await result).text).toBe(text.repeat(50));
    expect(statuses).not.toContain('reconnecting');
  });

  it('that is closed past a limit comes back, and loses nothing', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { limits: { maxMessagesPerSecond: 2 } });
    const client = createClient({ url, cache: false });
    onTestFinished(() => client.close());
    const statuses: string[] = [];
    client.connection$.subscribe(({ status }) => statuses.push(status));
    const answer = client.start({ query: 'q' });
    const call = await nextCall();
    call.say('before, ');
    await expect.poll(() => statuses).toContain('connected');
    // Each new answer is a message, and the eleventh is one too many.
    const others = times(12, (i) => client.start({ query: `${i}` }));
    for (const { result } of others) result.catch(() => {});
    await expect.poll(() => statuses, { timeout: 10_000 }).toContain('reconnecting');
    call.say('after');
    call.finish();
    expect((await answer.result).text).toBe('before, after');
  });
});
