import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Child } from '../harness/child.js';
import { npmStart } from '../harness/demo.js';

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
      .end();
  });
}

const own = () => ({ origin: new URL(rivulet.url).origin, 'x-lab-token': token });

describe('the server of "Try to break it"', () => {
  it('takes what the page asks of it', async () => {
    expect(await send('POST', '/lab/fail-later', own())).toMatchObject({ status: 202 });
    expect(await send('POST', '/lab/nothing', own())).toMatchObject({ status: 404 });
    expect(await send('POST', '/lab/constructor', own())).toMatchObject({ status: 404 });
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
  ])('is neither in the server nor in the page %s', async (_, env) => {
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
