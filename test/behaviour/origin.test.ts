import { once } from 'node:events';
import { connect as connectTcp, type Socket as TcpSocket } from 'node:net';
import { EVENT } from '@rivulet/protocol';
import { type ServerOptions, resolveSettings } from '@rivulet/server';
import { io, type Socket } from 'socket.io-client';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createOriginCheck } from '../../packages/server/src/socket/origin.js';
import { attachedServer } from '../harness/attached.js';
import { recorded } from '../harness/log.js';
import { next } from '../harness/plain-client.js';
import { Polling } from '../harness/polling.js';
import { refused } from '../harness/refused.js';
import { startServer } from '../harness/rivulet.js';
import { type Stage, stage } from '../harness/stage.js';

const EVIL = 'https://evil.example';
const CONNECT = '40';
const CLOSE = '1';
const START = `42${JSON.stringify([EVENT.start, { query: 'What does the visitor know?' }])}`;

async function staged(options?: ServerOptions): Promise<Stage & { url: string }> {
  const played = stage();
  return { ...played, url: (await startServer(played.provider, options)).url };
}

/** A socket of a page of `origin`. */
function socketOf(url: string, origin: string, transport = 'websocket'): Socket {
  const socket = io(url, {
    transports: [transport],
    extraHeaders: { origin },
    forceNew: true,
    reconnection: false,
  });
  onTestFinished(() => void socket.disconnect());
  return socket;
}

/** A WebSocket of a page of `EVIL` that answers no frame, not even that of the end. */
async function rawSocketOf(url: string): Promise<TcpSocket> {
  const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  socket.write(
    'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n' +
      `Upgrade: websocket\r\nOrigin: ${EVIL}\r\nSec-WebSocket-Version: 13\r\n` +
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  const [head] = (await once(socket, 'data')) as [Buffer];
  expect(head.toString('latin1')).toContain('101 Switching Protocols');
  socket.resume();
  return socket;
}

describe('JSONP polling', () => {
  it.each([
    ['GET', 'handshake'],
    ['POST', 'handshake'],
    ['GET', 'later request'],
    ['POST', 'later request'],
  ])('is a plain 400 to a %s %s, from everyone', async (method, when) => {
    const { url, calls } = await staged({ allowedOrigins: ['*'] });
    for (const headers of [{}, { origin: 'http://localhost' }, { 'sec-fetch-site': 'none' }]) {
      for (const query of ['&j=0', '&j=', '&j', '&j=0&j=1']) {
        const connection = new Polling(url, headers);
        if (when === 'later request') await (await connection.open()).send([CONNECT]);
        const body = method === 'POST' ? { body: `d=${encodeURIComponent(START)}` } : {};
        const response = await connection.request({ method, ...body }, query);
        expect(response.status).toBe(400);
        expect(await response.text()).not.toMatch(/___eio|sid/);
      }
    }
    expect(calls).toEqual([]);
  });
});

describe('a request without an Origin', () => {
  it.each(['cross-site', 'same-site'])('is refused if its Sec-Fetch-Site is %s', async (site) => {
    const { url, calls } = await staged();
    const headers = { 'sec-fetch-site': site };
    expect((await new Polling(url, headers).request()).status).toBe(400);
    const connection = await new Polling(url).open();
    expect((await connection.send([CONNECT], headers)).status).toBe(400);
    expect((await connection.request({ headers })).status).toBe(400);
    expect(calls).toEqual([]);
  });

  it.each([{}, { 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }])(
    'connects with %o',
    async (headers) => {
      const { url, nextCall } = await staged({ allowedOrigins: ['https://chat.example'] });
      const connection = await new Polling(url, headers).open();
      await connection.send([CONNECT]);
      expect((await connection.receive())[0]).toMatch(/^40/);
      await connection.send([START]);
      await nextCall();
    },
  );

  it('is not needed of a page whose Origin is allowed, wherever it is', async () => {
    const { url } = await staged({ allowedOrigins: ['https://chat.example'] });
    const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://chat.example' };
    const connection = await new Polling(url, headers).open();
    const response = await connection.send([CONNECT]);
    expect(response.headers.get('access-control-allow-origin')).toBe('https://chat.example');
    expect((await connection.receive())[0]).toMatch(/^40/);
  });
});

describe('a page of a refused origin', () => {
  it.each(['websocket', 'polling'])(
    'is told so by %s, and gets nothing else',
    async (transport) => {
      const { url, calls } = await staged();
      const socket = socketOf(url, EVIL, transport);
      const received: string[] = [];
      socket.io.on('open', () => {
        const { engine } = socket.io;
        engine.on('packet', ({ type, data }) => type === 'message' && received.push(String(data)));
      });
      expect(await refused(socket)).toEqual({
        code: 'unauthorized',
        message: `unable to connect: the origin ${EVIL} is not allowed; the operator of the server can add it to ALLOWED_ORIGINS (allowedOrigins)`,
        retryable: false,
      });
      expect(received).toEqual([expect.stringMatching(/^4/)]);
      expect(calls).toEqual([]);
    },
  );

  it('can read the refusal by polling, without credentials', async () => {
    const { url } = await staged();
    const connection = await new Polling(url, { origin: EVIL }).open();
    await connection.send([CONNECT]);
    const { headers } = await connection.request();
    expect(headers.get('access-control-allow-origin')).toBe(EVIL);
    expect(headers.get('access-control-allow-credentials')).toBeNull();
  });

  it.each([
    // Its second CONNECT is refused, too; the others are not read.
    ['and nothing else, however often it connects', Array<string>(200).fill(CONNECT), 2],
    ['not even that if it does not wait to ask', [CONNECT, START], 0],
  ])('gets the refusal, %s', async (_, packets, refusals) => {
    const { url, calls } = await staged();
    const connection = await new Polling(url, { origin: EVIL }).open();
    await connection.send(packets);
    const received: string[] = [];
    while (received.at(-1) !== CLOSE) received.push(...(await connection.receive()));
    const messages = received.filter((packet) => packet.startsWith('4'));
    expect(messages).toEqual(Array(refusals).fill(expect.stringMatching(/^44/)));
    expect((await connection.send([START])).status).toBe(400);
    expect(calls).toEqual([]);
  });

  it('is disconnected if it says nothing, or does not read its refusal', async () => {
    const { url } = await staged();
    const silent = await new Polling(url, { origin: EVIL }).open();
    const deaf = await new Polling(url, { origin: EVIL }).open();
    await deaf.send([CONNECT]);
    const [silentSocket, deafSocket] = await Promise.all([rawSocketOf(url), rawSocketOf(url)]);
    const MASKED_CONNECT = Buffer.from([0x81, 0x82, 0, 0, 0, 0, ...Buffer.from(CONNECT)]);
    deafSocket.write(MASKED_CONNECT);
    await Promise.all([once(silentSocket, 'close'), once(deafSocket, 'close')]);
    expect((await silent.send(['3'])).status).toBe(400);
    expect((await deaf.send(['3'])).status).toBe(400);
  });

  it('is forgotten soon after it has read its refusal by polling, though it never asks again', async () => {
    const { url } = await staged();
    const connection = await new Polling(url, { origin: EVIL }).open();
    const reading = connection.receive();
    await connection.send(['3']);
    await connection.send([CONNECT]);
    expect(await reading).toEqual([expect.stringMatching(/^44/)]);
    // A connection that had not read it would be forgotten after 5 s.
    await vi.waitFor(async () => expect((await connection.send(['3'])).status).toBe(400), 4_000);
  });

  it('is one that its first request with an Origin names, as of a name that points here', async () => {
    const { url, calls } = await staged();
    const connection = await new Polling(url).open();
    await connection.send([CONNECT], { origin: 'http://rebound.example:3000' });
    const [refusal = ''] = await connection.receive();
    expect(refusal).toMatch(/^44.*unauthorized.*http:\/\/rebound\.example:3000/);
    expect(calls).toEqual([]);
  });

  it('cannot take part in the connection of another page', async () => {
    const { url, calls, nextCall } = await staged();
    const connection = await new Polling(url).open();
    await connection.send([CONNECT]);
    await connection.receive();
    expect((await connection.send([START], { origin: EVIL })).status).toBe(400);
    expect((await connection.request({ headers: { origin: EVIL } })).status).toBe(400);
    expect(calls).toEqual([]);
    expect((await connection.send([START])).status).toBe(200);
    await nextCall();
  });

  it('leaves room for the connections of allowed origins', async () => {
    const { url } = await staged();
    const handshakes = Array.from({ length: 101 }, () =>
      new Polling(url, { origin: EVIL }).request(),
    );
    const statuses = (await Promise.all(handshakes)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 403)).toHaveLength(1);
    await next(socketOf(url, 'http://localhost:5173'), 'connect');
  });

  it('is logged once for each connection, in printable characters', async () => {
    const log = recorded();
    const { url } = await staged({ logger: log.logger });
    const origin = `https://\u00e9"\u009b31m${'x'.repeat(4_000)}`;
    await (await new Polling(url, { origin }).open()).send([CONNECT]);
    const refusals = log.events.filter(({ event }) => event === 'ORIGIN_REFUSED');
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toMatchObject({ reason: 'not_allowed', hint: expect.any(String) });
    expect(refusals[0]!['origin']).toMatch(/^https:\/\/\\xe9"\\x9b31mx+$/);
    expect(String(refusals[0]!['origin']).length).toBeLessThanOrEqual(200);
  });
});

describe('Rivulet on a server that is there already', () => {
  it.each([
    [{}, { j: '0' }, 'JSONP'],
    [{ 'sec-fetch-site': 'cross-site' }, {}, 'without an Origin'],
    [{ 'sec-fetch-site': 'same-site' }, {}, 'without an Origin'],
    [{ origin: EVIL }, {}, EVIL],
  ])(
    'refuses a handshake with %o and %o in its own namespace only',
    async (headers, query, why) => {
      const { url, io: own } = await attachedServer(stage().provider, { namespace: '/answers' });
      own.on('connection', (socket) => socket.on('ping-me', (reply) => reply('pong')));
      const options = { transports: ['websocket'], extraHeaders: headers, query, forceNew: true };
      const socket = io(url, options);
      onTestFinished(() => void socket.disconnect());
      await next(socket, 'connect');
      const error = await refused(socket.io.socket('/answers'));
      expect(error).toMatchObject({ code: 'unauthorized', message: expect.stringContaining(why) });
      expect(await socket.emitWithAck('ping-me')).toBe('pong');
    },
  );
});

const LISTED = [
  'null',
  'FILE:///',
  'app://.',
  'tauri://localhost',
  'Capacitor://localhost/',
  'chrome-extension://abcdefghijklmnopabcdefghijklmnop',
  'https://*.example.com',
  'https://*.example.org:8443',
  'HTTPS://Chat.Example/',
  'https://default.example:443',
  'https://bücher.example',
  'http://[::1]:3000',
];

describe('ALLOWED_ORIGINS', () => {
  const check = (origin: string, setting = LISTED.join(',')): boolean => {
    const { allowedOrigins } = resolveSettings({ env: { ALLOWED_ORIGINS: setting } });
    return createOriginCheck(allowedOrigins)({ headers: { origin }, query: {} }) === undefined;
  };

  it.each([
    'null',
    'file://',
    'app://.',
    'tauri://localhost',
    'capacitor://localhost',
    'chrome-extension://abcdefghijklmnopabcdefghijklmnop',
    'https://a.example.com',
    'https://a.b-c.example.com',
    'https://a.example.org:8443',
    'https://chat.example',
    'https://default.example',
    'https://xn--bcher-kva.example',
    'http://[::1]:3000',
  ])('allows %s where it is listed', (origin) => {
    expect(check(origin)).toBe(true);
    expect(check(origin, '*')).toBe(true);
    expect(check(origin, 'https://other.example')).toBe(false);
  });

  it.each([
    'https://example.com',
    'https://.example.com',
    'https://a..example.com',
    'http://a.example.com',
    'https://a.example.com:8443',
    'https://a.example.org',
    'https://a-example.com',
    'https://evil.test/.example.com',
    'https://evil.test#.example.com',
    'https://a.example.com.evil.test',
    'https://aXexampleXcom',
    'https://chat.example.evil.test',
    'https://chat.example:8443',
    'http://chat.example',
    'file://host',
    'app://other',
    'http://localhost',
    'https://chat.example, https://evil.example',
    '',
    '*',
  ])('does not allow %j where another is listed', (origin) => {
    expect(check(origin)).toBe(false);
  });

  it.each([
    'chat.example',
    '*.example.com',
    'https://*',
    'https://*.',
    'https://*.*.example.com',
    'https://a.*.example.com',
    'https://*example.com',
    'https://*.127.0.0.1',
    'https://*.example.com:*',
    'app://*.localhost',
    'https://chat.example/page',
    'https://chat.example//',
    'https://chat.example?a',
    'https://chat.example#a',
    'https://me:password@chat.example',
    'https://chat example',
    'https://chat(example',
    'https://chat.example:99999',
    'https://',
    'wss://chat.example',
    'ftp://chat.example',
    'data:text/html,',
    'javascript://chat.example',
    'file://host',
    'app://',
    '://',
    '**',
    'undefined',
  ])('refuses %s in one line', (setting) => {
    const env = { ALLOWED_ORIGINS: `https://ok.example,${setting}` };
    expect(() => resolveSettings({ env })).toThrow(
      /^ALLOWED_ORIGINS is ".*"; it must be comma-separated origins, such as .*$/,
    );
  });

  it('is the http and https pages of this machine unless set', () => {
    const allowed = createOriginCheck(undefined);
    const isAllowed = (origin: string) => allowed({ headers: { origin }, query: {} }) === undefined;
    const own = ['http://localhost:3000', 'https://127.0.0.1', 'http://[::1]:5173'];
    expect(own.filter((origin) => !isAllowed(origin))).toEqual([]);
    const others = ['null', 'file://', 'capacitor://localhost', 'http://localhost.evil.test', EVIL];
    expect(others.filter(isAllowed)).toEqual([]);
  });
});

describe('a forwarded request', () => {
  const from = async (url: string, headers: Record<string, string>) => {
    const socket = io(url, { transports: ['websocket'], extraHeaders: headers, forceNew: true });
    onTestFinished(() => void socket.disconnect());
    await next(socket, 'connect');
  };
  const warnings = ({ events }: ReturnType<typeof recorded>) =>
    events.filter(({ event }) => event === 'PROXY_NOT_TRUSTED');

  it.each([{ 'x-forwarded-for': '203.0.113.7' }, { forwarded: 'for=203.0.113.7' }])(
    'of a proxy that is not trusted is warned of once (%o)',
    async (headers) => {
      const log = recorded();
      const { url } = await staged({ logger: log.logger, trustedProxies: ['10.0.0.0/8'] });
      await from(url, {});
      expect(warnings(log)).toEqual([]);
      await from(url, headers);
      await from(url, headers);
      expect(warnings(log)).toEqual([
        expect.objectContaining({
          peer: expect.stringMatching(/127\.0\.0\.1$/),
          hint: expect.stringContaining('add it to TRUSTED_PROXIES'),
        }),
      ]);
    },
  );

  it('of a trusted proxy is no reason to warn', async () => {
    const log = recorded();
    const { url } = await staged({ logger: log.logger, trustedProxies: ['loopback'] });
    await from(url, { 'x-forwarded-for': '203.0.113.7' });
    expect(warnings(log)).toEqual([]);
  });
});
