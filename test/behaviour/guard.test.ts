import { EVENT, LIMITS } from '@rivulet/protocol';
import type { Authenticate, LogFields } from '@rivulet/server';
import { io } from 'socket.io-client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { deferred } from '../harness/deferred.js';
import { connect, next } from '../harness/plain-client.js';
import { refused } from '../harness/refused.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';

const TOKENS: Record<string, string> = { 'token-of-ada': 'ada', 'token-of-bob': 'bob' };
const authenticate: Authenticate = ({ token }) => {
  const principal = TOKENS[token ?? ''];
  return principal === undefined ? undefined : { principal };
};

describe('the queue of a server that does not ask who it is', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7', false],
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9', false],
    ['203.0.113.7', '198.51.100.9', true],
  ])('has half of its places for %s, and then one for %s: %s', async (taker, other, isTaken) => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      providers: [{ provider, concurrency: 1 }],
      limits: { maxQueued: 4 },
      trustedProxies: ['loopback'],
    });
    /** Each browser has an id of its own. */
    const ask = async (browser: string, address: string) => {
      const socket = io(url, {
        auth: { browser_id: browser.padEnd(32, 'x') },
        extraHeaders: { 'x-forwarded-for': address },
        forceNew: true,
        transports: ['websocket'],
      });
      onTestFinished(() => void socket.disconnect());
      const refusedOrQueued = Promise.race([
        next<{ code: string }>(socket, EVENT.error).then(({ code }) => code),
        next(socket, EVENT.queued).then(() => 'queued'),
      ]);
      await socket.emitWithAck(EVENT.start, { query: `q${browser}`, stream_id: 'A' });
      return refusedOrQueued;
    };
    void ask('running', taker);
    await nextCall();
    const takers = await Promise.all(['1', '2', '3', '4'].map((id) => ask(id, taker)));
    expect(takers.filter((outcome) => outcome === 'queued')).toHaveLength(2);
    expect(await ask('other', other)).toBe(isTaken ? 'queued' : 'overloaded');
  });
});

describe('a server that asks who it is', () => {
  it('meets each connection of a user again who was disconnected', async () => {
    let isBlocked = false;
    let checks = 0;
    const { url, disconnect } = await startServer(stage().provider, {
      authenticate: ({ token }) => {
        checks += 1;
        return isBlocked || token === undefined ? undefined : { principal: token };
      },
    });
    const [first, second, other] = ['ada', 'ada', 'bob'].map((token) => connect(url, { token }));
    await Promise.all([first, second, other].map((socket) => next(socket!, 'connect')));
    const closed = Promise.all([first, second].map((socket) => next(socket!, 'disconnect')));
    isBlocked = true;
    disconnect('ada');
    expect(await closed).toEqual(['io server disconnect', 'io server disconnect']);
    expect(await refused(connect(url, { token: 'ada' }))).toMatchObject({ code: 'unauthorized' });
    expect(other!.connected).toBe(true);
    expect(checks).toBe(4);
  });

  it('also closes a connection whose check began before its user was disconnected', async () => {
    const [began, checked] = [deferred(), deferred()];
    const { url, disconnect } = await startServer(stage().provider, {
      authenticate: async () => {
        began.resolve();
        await checked.promise;
        return { principal: 'ada' };
      },
    });
    const socket = connect(url, { token: 'ada' });
    const closed = next(socket, 'disconnect');
    await began.promise;
    disconnect('ada');
    checked.resolve();
    expect(await closed).toBe('io server disconnect');
  });

  it.each([{}, { token: 'wrong' }, { token: 'token-of-ada '.repeat(2_000) }])(
    'refuses a connection with %o, and says why',
    async (auth) => {
      const { url } = await startServer(stage().provider, { authenticate });
      const { code, message, retryable } = await refused(connect(url, auth));
      expect(retryable).toBe(false);
      expect([code, message]).toEqual(
        (auth.token?.length ?? 0) > LIMITS.tokenUnits
          ? ['bad_request', expect.stringContaining('`token`')]
          : ['unauthorized', 'unable to connect: the token is missing or wrong; log in again'],
      );
    },
  );

  it('shows a user their streams on every device, and to no other', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { authenticate });
    const laptop = connect(url, { token: 'token-of-ada', browser_id: 'the-laptop-of-ada-1815' });
    await laptop.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const phone = connect(url, { token: 'token-of-ada', browser_id: 'the-phone-of-ada-1815' });
    const resume = { stream_id: 'A', offset: 0 };
    expect(await phone.emitWithAck(EVENT.resume, resume)).toMatchObject({ ok: true });
    const chunk = next(phone, EVENT.chunk);
    (await nextCall()).say('Where');
    expect(await chunk).toMatchObject({ stream_id: 'A', data: 'Where' });

    const other = connect(url, { token: 'token-of-bob', browser_id: 'the-laptop-of-ada-1815' });
    const foreign = await other.emitWithAck(EVENT.resume, resume);
    const missing = await other.emitWithAck(EVENT.resume, { stream_id: 'B', offset: 0 });
    expect(foreign).toEqual(missing);
    expect(foreign.error.code).toBe('not_found');
    expect(await other.emitWithAck(EVENT.list, {})).toEqual({ ok: true, streams: [] });
  });

  it('gives the check the headers of the connection, such as its cookies', async () => {
    const { url } = await startServer(stage().provider, {
      authenticate: ({ headers }) => ({ principal: `${headers.cookie}` }),
    });
    const socket = io(url, {
      transports: ['websocket'],
      extraHeaders: { cookie: 'session=ada' },
      forceNew: true,
    });
    onTestFinished(() => void socket.disconnect());
    await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const other = io(url, { extraHeaders: { cookie: 'session=ada' }, forceNew: true });
    onTestFinished(() => void other.disconnect());
    expect(await other.emitWithAck(EVENT.list, {})).toMatchObject({
      streams: [{ stream_id: 'A' }],
    });
  });

  it.each([undefined, null])('takes %s for a refusal', async (verdict) => {
    const { url } = await startServer(stage().provider, { authenticate: () => verdict });
    expect(await refused(connect(url))).toMatchObject({ code: 'unauthorized' });
  });

  it.each([
    ['no principal', {}],
    ['an empty principal', { principal: '' }],
    ['a date that is none', { principal: 'ada', expiresAt: new Date(Number.NaN) }],
    ['a number for a date', { principal: 'ada', expiresAt: 1_800_000_000 }],
  ])('takes %s for a fault of the check, and lets nobody in', async (_, verdict) => {
    const check = (() => verdict) as unknown as Authenticate;
    const { url } = await startServer(stage().provider, { authenticate: check });
    expect(await refused(connect(url))).toMatchObject({ code: 'internal', retryable: true });
  });

  it('leaves nothing behind of connections whose token expires as they are made', async () => {
    const { provider, calls } = stage();
    const { url } = await startServer(provider, {
      authenticate: () => ({ principal: 'ada', expiresAt: new Date(Date.now() + 2) }),
      limits: { disconnectTimeoutMs: 20 },
    });
    const requests = (id: number) => [{ type: EVENT.start, query: `${id}`, stream_id: `${id}` }];
    const gone = Array.from({ length: 25 }, (_, i) => {
      const socket = connect(url, { requests: requests(i) });
      return Promise.race([next(socket, 'disconnect'), next(socket, 'connect_error')]);
    });
    await Promise.all(gone);
    for (const { aborted } of calls) await aborted;
    expect(calls.length).toBeGreaterThan(0);
  });

  it('does not keep a connection that has left its streams', async () => {
    const { url } = await startServer(stage().provider);
    const polling = `${url}/socket.io/?EIO=4&transport=polling`;
    const opened = await (await fetch(polling)).text();
    const { sid } = JSON.parse(opened.slice(1)) as { sid: string };
    const post = (body: string) => fetch(`${polling}&sid=${sid}`, { method: 'POST', body });
    await post('40');
    expect(await (await fetch(`${polling}&sid=${sid}`)).text()).toMatch(/^40/);
    await post('41');
    const CLOSED = '1';
    const told = await (await fetch(`${polling}&sid=${sid}`)).text();
    expect(told.split('\u001e')).toContain(CLOSED);
  });

  it('ends a connection when its token expires, and refuses one that has', async () => {
    const { url } = await startServer(stage().provider, {
      authenticate: ({ token }) => ({
        principal: 'ada',
        expiresAt: new Date(Date.now() + Number(token)),
      }),
    });
    const socket = connect(url, { token: '50' });
    expect(await next(socket, 'disconnect')).toBe('io server disconnect');
    expect(await refused(connect(url, { token: '-1' }))).toMatchObject({
      code: 'unauthorized',
      message: 'unable to connect: the token has expired; log in again',
    });
  });

  it('takes a check that throws for a fault of its own: logged without its words, to be tried again', async () => {
    const lines: LogFields[] = [];
    const log = (fields: LogFields): void => void lines.push(fields);
    const { url } = await startServer(stage().provider, {
      logger: { debug: log, info: log, warn: log, error: log },
      authenticate: ({ token }) => {
        throw new TypeError(`the database does not know ${token}`);
      },
    });
    const error = await refused(connect(url, { token: 'secret-token' }));
    expect(error).toMatchObject({ code: 'internal', retryable: true });
    expect(error.retry_after_ms).toBeGreaterThan(0);
    expect(lines).toContainEqual(expect.objectContaining({ event: 'AUTHENTICATE_FAILED' }));
    expect(JSON.stringify([lines, error])).not.toContain('secret-token');
  });
});

describe('the limits of a principal', () => {
  const me = { browser_id: 'the-browser-of-the-first-visitor' };
  const start = (socket: ReturnType<typeof connect>, id: string) =>
    socket.emitWithAck(EVENT.start, { query: id, stream_id: id });

  it('refuse the 31st question of a minute with when to ask again; a repeated one costs nothing', async () => {
    const { url } = await startServer(stage().provider);
    const socket = connect(url, me);
    for (let i = 0; i < 29; i++) expect(await start(socket, `${i}`)).toMatchObject({ ok: true });
    for (let i = 0; i < 40; i++) expect(await start(socket, '7')).toMatchObject({ ok: true });
    expect(await start(socket, '29')).toMatchObject({ ok: true });
    const { error } = await start(socket, '30');
    expect(error).toMatchObject({ code: 'rate_limited', retryable: true });
    expect(error.retry_after_ms).toBeGreaterThan(0);
    expect(error.retry_after_ms).toBeLessThanOrEqual(60_000);
    // On another connection, too; what exists can be started again and read all the same.
    const again = connect(url, me);
    expect((await start(again, '31')).error.code).toBe('rate_limited');
    expect(await start(again, '7')).toMatchObject({ ok: true });
    const resume = { stream_id: '7', offset: 0 };
    expect(await again.emitWithAck(EVENT.resume, resume)).toMatchObject({ ok: true });
    expect(await start(connect(url), 'of another')).toMatchObject({ ok: true });
  });

  it('let a question through once the time has come', async () => {
    const { url } = await startServer(stage().provider, {
      env: { RATE_LIMIT_REQUESTS: '1', RATE_LIMIT_WINDOW_SECONDS: '3' },
    });
    const socket = connect(url, me);
    await start(socket, 'A');
    const { error } = await start(socket, 'B');
    await new Promise((resolve) => setTimeout(resolve, error.retry_after_ms + 20));
    expect(await start(socket, 'B')).toMatchObject({ ok: true });
  });

  it('count reading again apart: ten times as often', async () => {
    const { url } = await startServer(stage().provider, { env: { RATE_LIMIT_REQUESTS: '2' } });
    const socket = connect(url, me);
    await start(socket, 'A');
    const resume = { stream_id: 'A', offset: 0 };
    for (let i = 0; i < 20; i++) {
      expect(await socket.emitWithAck(EVENT.resume, resume)).toMatchObject({ ok: true });
    }
    const { error } = await socket.emitWithAck(EVENT.resume, resume);
    expect(error).toMatchObject({ code: 'rate_limited' });
    expect(await start(socket, 'B')).toMatchObject({ ok: true });
  });

  it('hold for an address ten times over, whatever browser ids it makes up', async () => {
    const { url } = await startServer(stage().provider, { env: { RATE_LIMIT_REQUESTS: '1' } });
    for (let i = 0; i < 10; i++)
      expect(await start(connect(url), `${i}`)).toMatchObject({ ok: true });
    expect((await start(connect(url), '10')).error.code).toBe('rate_limited');
  });

  it.each([
    ['nobody', '', true],
    ['the proxy that is named', '127.0.0.1', false],
  ])('believe X-Forwarded-For from %s', async (_, proxies, isLimited) => {
    const { url } = await startServer(stage().provider, {
      env: { RATE_LIMIT_REQUESTS: '1', TRUSTED_PROXIES: proxies },
    });
    const from = (address: string) => {
      const headers = { 'x-forwarded-for': address };
      const socket = io(url, { transports: ['websocket'], extraHeaders: headers, forceNew: true });
      onTestFinished(() => void socket.disconnect());
      return socket;
    };
    for (let i = 0; i < 10; i++) await start(from(`203.0.113.7:${5_000 + i}`), `${i}`);
    expect((await start(from('203.0.113.7'), 'x')).error.code).toBe('rate_limited');
    const other = await start(from('2001:db8:1:2:3::4'), 'y');
    expect(other.error?.code).toBe(isLimited ? 'rate_limited' : undefined);
    if (isLimited) return;
    // One customer has all of a /64.
    for (let i = 0; i < 9; i++) await start(from(`2001:db8:1:2:${i}::1`), `${i}`);
    expect((await start(from('2001:db8:1:2:ffff::1'), 'z')).error.code).toBe('rate_limited');
    expect(await start(from('2001:db8:1:3::1'), 'z')).toMatchObject({ ok: true });
  });

  it('do not change the order: a stop that follows its start at once is a stop', async () => {
    const { provider, calls } = stage();
    const socket = connect((await startServer(provider)).url);
    const ended = next(socket, EVENT.error);
    const started = start(socket, 'A');
    const cancelled = socket.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    expect(await started).toMatchObject({ ok: true });
    expect(await cancelled).toEqual({ ok: true });
    expect(await ended).toMatchObject({ stream_id: 'A', code: 'cancelled' });
    for (const { aborted } of calls) await aborted;
  });

  it('count connections: one too many is refused, and one that ends makes room', async () => {
    const { url } = await startServer(stage().provider, {
      limits: { maxConnections: 3, maxConnectionsPerPrincipal: 2 },
    });
    const first = connect(url, me);
    await next(first, 'connect');
    await next(connect(url, me), 'connect');
    expect(await refused(connect(url, me))).toMatchObject({
      code: 'overloaded',
      message: expect.stringContaining('close some tabs'),
    });
    await next(connect(url), 'connect');
    expect(await refused(connect(url))).toMatchObject({ code: 'overloaded', retryable: true });
    first.disconnect();
    const isLetIn = () =>
      refused(connect(url, me)).then(
        () => false,
        () => true,
      );
    await expect.poll(isLetIn).toBe(true);
  });
});
