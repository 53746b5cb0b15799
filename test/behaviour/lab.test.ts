import { request } from 'node:http';
import { createServer, type MockStep, mockProvider } from '@rivulet/server';
import { filter, firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openLab } from '../../demo/lab/lab.js';
import { listen } from '../../packages/server/src/listen.js';
import type { Child } from '../harness/child.js';
import { npmStart } from '../harness/demo.js';
import { sdk } from '../harness/sdk.js';

let rivulet: Child & { url: string };
let token: string;

beforeAll(async () => {
  rivulet = await npmStart({ LLM_MODE: 'docs' });
  token = (JSON.parse((await send('GET', '/lab/session')).body) as { token: string }).token;
});
afterAll(async () => void (await rivulet.stop()));

interface Reply {
  status: number | undefined;
  body: string;
}

/** `fetch` does not send these headers. */
function send(
  method: 'GET' | 'POST',
  path: string,
  headers: Record<string, string> = {},
  url = rivulet.url,
  content = '',
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    request(url, { method, path, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    })
      .on('upgrade', ({ statusCode: status }, socket) => {
        socket.destroy();
        resolve({ status, body: '' });
      })
      .on('error', reject)
      .end(content);
  });
}

const own = () => ({ origin: new URL(rivulet.url).origin, 'x-lab-token': token });

/** A long one. */
const DOCUMENT = '/docs/PROTOCOL.md';

/** Sends a request of the page, with a body. */
const post = (path: string, body: unknown): Promise<Reply> =>
  send('POST', path, own(), rivulet.url, JSON.stringify(body));

/** A lab of its own, whose model plays `steps`. */
async function startLab(steps: MockStep[]) {
  let starts = 0;
  const lab = await openLab(({ record, serve }) => {
    starts += 1;
    return createServer({
      env: { LOG_LEVEL: 'silent' },
      providers: record([{ provider: mockProvider(() => steps) }]),
      page: (asked, response) => void serve(asked, response),
    });
  });
  const url = await listen(lab.proxy.listener, '127.0.0.1', 0);
  const session = await send('GET', '/lab/session', {}, url);
  const { token: secret } = JSON.parse(session.body) as { token: string };
  const headers = { origin: new URL(url).origin, 'x-lab-token': secret };
  return { lab, url, headers, starts: () => starts };
}

describe('the server of "Try to break it"', () => {
  it('generates an answer for each visitor, also to a question that another one asked', async () => {
    const [first, second] = [sdk(rivulet.url), sdk(rivulet.url)];
    const query = 'What is Rivulet?';
    const sources = [];
    for (const client of [first, second, second]) {
      const { source } = await client.start({ query }).result;
      sources.push(source);
    }
    expect(sources).toEqual(['model', 'model', 'server-cache']);
  });

  it('takes what the page asks of it', async () => {
    expect(await send('POST', '/lab/fail-later', own())).toMatchObject({ status: 202 });
    expect(await send('POST', '/lab/nothing', own())).toMatchObject({ status: 404 });
    expect(await send('POST', '/lab/constructor', own())).toMatchObject({ status: 404 });
  });

  it('takes questions again within 10 seconds after the rate limit was exhausted', async () => {
    const client = sdk(rivulet.url);
    const ask = async () => {
      const answer = client.start({ query: 'What is Rivulet?', options: { cache: 'no-store' } });
      const state = await firstValueFrom(
        answer.state$.pipe(
          filter(({ requestId, error }) => requestId !== undefined || error !== undefined),
        ),
      );
      answer.cancel();
      return state.error;
    };
    let error;
    for (let asked = 0; error === undefined && asked < 50; asked += 1) error = await ask();
    expect(error).toMatchObject({ code: 'rate_limited' });
    expect(error?.retryAfterMs).toBeLessThanOrEqual(10_000);
  });

  it.each([
    ['no query', { units: 1 }],
    ['a query that is no string', { query: { toString: null }, units: 1 }],
    ['units that are no number', { query: 'What?', units: { valueOf: null } }],
    ['no object', 'What?'],
  ])('refuses a comparison with %s', async (_, body) => {
    expect(await post('/lab/generated', body)).toMatchObject({ status: 400 });
    expect(await post('/lab/generated', { query: 'What?', units: 1 })).toEqual({
      status: 200,
      body: '{"generated":null}',
    });
  });

  it('closes the connection of a body that is too long', async () => {
    // Once is not enough: a reply that is sent before the connection closes arrives only sometimes.
    for (let sent = 0; sent < 20; sent += 1) {
      await expect(post('/lab/generated', { query: 'x'.repeat(3e6), units: 1 })).rejects.toThrow(
        /ECONNRESET|EPIPE|hang up/,
      );
    }
    expect(await send('GET', '/lab/session')).toMatchObject({ status: 200 });
  });

  it(
    'ends a fault after its time, also when another one came meanwhile',
    { timeout: 20_000 },
    async () => {
      await post('/lab/slow', { ms: 5_000 });
      const replyMs = async (): Promise<number> => {
        const at = performance.now();
        await send('GET', '/lab/session');
        return performance.now() - at;
      };
      await expect.poll(replyMs, { timeout: 4_000 }).toBeGreaterThan(200);
      // The fault resets a reply that takes longer than a second over the slow link.
      const offline = await post('/lab/offline', { ms: 1 }).catch(() => ({ status: 'reset' }));
      expect(offline.status).toBeOneOf([202, 'reset']);
      // At 1 KB a second, the document would take half a minute.
      await expect
        .poll(() => send('GET', DOCUMENT).catch(() => ({})), { timeout: 10_000 })
        .toMatchObject({ status: 200 });
    },
  );

  it('restarts once for requests that come together', async () => {
    const { lab, url, headers, starts } = await startLab([]);
    const asked = [1, 2, 3].map(() => send('POST', '/lab/restart', headers, url));
    // The restart resets a reply that takes longer than 50 ms.
    const replies = (await Promise.allSettled(asked)).filter(
      ({ status }) => status === 'fulfilled',
    );
    expect(replies).toContainEqual(
      expect.objectContaining({ value: expect.objectContaining({ status: 202 }) }),
    );
    await expect.poll(starts).toBe(2);
    await lab.close();
    expect(starts()).toBe(2);
  });

  it('lists the answers in the server’s cache, the newest first', async () => {
    const { lab, url, headers } = await startLab([{ text: 'Flüsse.' }, { finish: 'stop' }]);
    onTestFinished(() => lab.close());
    const cached = () => send('POST', '/lab/cache', headers, url);
    expect(await cached()).toEqual({ status: 200, body: '{"answers":[]}' });
    for (const query of ['Where does a river end?', 'And a stream?']) {
      await sdk(url).start({ query }).result;
    }
    const answer = { name: 'Flüsse.', bytes: 8 };
    expect(JSON.parse((await cached()).body)).toEqual({ answers: [answer, answer] });
  });

  it.each([
    ['of another site', { 'sec-fetch-site': 'cross-site' }],
    ['of another port of this machine', { 'sec-fetch-site': 'same-site' }],
    ['by another host name', { host: 'rebound.example' }],
    ['through a proxy', { 'x-forwarded-for': '203.0.113.7' }],
    ['through a proxy that names itself', { via: '1.1 proxy' }],
  ])('tells its token to no page %s', async (_, headers) => {
    const reply = await send('GET', '/lab/session', headers);
    expect(reply.status).toBe(403);
    expect(reply.body).not.toContain(token);
  });

  it.each([
    ['without a token', { 'x-lab-token': '' }],
    ['with another token', { 'x-lab-token': 'x'.repeat(32) }],
    ['of another origin', { origin: 'http://evil.example' }],
    ['of another port', { origin: 'http://localhost:1' }],
    ['of no origin', { origin: '' }],
    ['of a sandboxed page', { origin: 'null' }],
    ['by another host name', { host: 'rebound.example', origin: 'http://rebound.example' }],
    ['through a proxy', { 'x-forwarded-for': '203.0.113.7' }],
    ['of another site', { 'sec-fetch-site': 'cross-site' }],
  ])('causes no fault for a request %s', async (_, headers) => {
    expect(await send('POST', '/lab/restart', { ...own(), ...headers })).toMatchObject({
      status: 403,
    });
    expect(await send('GET', '/lab/restart', { ...own(), ...headers })).toMatchObject({
      status: 403,
    });
  });

  it('opens no plain Socket.IO for a page of another origin', async () => {
    const path = `/lab/socket.io/?EIO=4&transport=websocket&token=${token}`;
    const upgrade = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    };
    const statusOf = async (origin: string, at = path) =>
      (await send('GET', at, { ...upgrade, origin })).status;
    expect(await statusOf(own().origin)).toBe(101);
    expect(await statusOf('http://evil.example')).toBe(400);
    expect(await statusOf(own().origin, path.replace(token, 'another'))).toBe(400);
  });
});

describe('"Try to break it"', () => {
  it.each([
    ['on another address', { HOST: '0.0.0.0' }],
    ['for a site of its own', { ALLOWED_ORIGINS: 'https://chat.example' }],
  ])('is neither in the server nor in the page %s', { timeout: 90_000 }, async (_, env) => {
    const other = await npmStart({ LLM_MODE: 'docs', ...env });
    onTestFinished(async () => void (await other.stop()));
    expect(await send('GET', '/lab/session', {}, other.url)).toMatchObject({ status: 404 });
    expect(await send('POST', '/lab/restart', own(), other.url)).toMatchObject({ status: 404 });
    const page = await send('GET', '/', {}, other.url);
    const script = /src="(\/assets\/[^"]+\.js)"/.exec(page.body)![1]!;
    expect((await send('GET', script, {}, other.url)).body).not.toMatch(/\/lab\b|lab-[\w-]+\.js/);

    const offered = await send('GET', '/');
    const ownScript = /src="(\/assets\/[^"]+\.js)"/.exec(offered.body)![1]!;
    expect((await send('GET', ownScript)).body).toMatch(/\/lab\/session/);
  });
});
