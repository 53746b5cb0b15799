import { promisify } from 'node:util';
import type { RivuletServer } from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { cluster } from '../harness/cluster/servers.js';
import { cuttableLink } from '../harness/link.js';
import { codeIn, startNginx } from '../harness/proxies.js';
import { Polling } from '../harness/polling.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const WEBSOCKET = { ...ME, transports: ['websocket'] } as const;

const UPSTREAM = /^upstream rivulet \{[^}]*\}\n/m;
/** The configurations in the documentation: the whole one, and what replaces its `upstream`. */
const [SITE, IP_HASH, COOKIE] = codeIn('scaling.md', 'nginx') as [string, string, string];

async function behindNginx(site: string) {
  const { a, b, redis } = await cluster({ trustedProxies: ['loopback'] });
  const at = (url: string): string => new URL(url).host;
  const replaced = { '127.0.0.1:3001': at(a.url), '127.0.0.1:3002': at(b.url) };
  return { a, b, redis, url: `http://${await startNginx(site, replaced)}` };
}

function connectionsOf({ http }: RivuletServer): Promise<number> {
  return promisify(http.getConnections.bind(http))();
}

/** Opens a connection by polling, enters the namespace and asks a question. */
async function askByPolling(polling: Polling, query: string): Promise<void> {
  await polling.open();
  await polling.send([`40${JSON.stringify({ browser_id: ME.browserId })}`]);
  await expect(polling.receive()).resolves.toEqual([expect.stringMatching(/^40/)]);
  const question = { query, stream_id: crypto.randomUUID() };
  await polling.send([`42${JSON.stringify(['stream_start', question])}`]);
}

/** @returns the first packet that has `text`. */
async function receiveWith(polling: Polling, text: string): Promise<string> {
  for (;;) {
    const packets = await polling.receive();
    expect(packets[0]).toMatch(/^[24]/);
    const found = packets.find((packet) => packet.includes(text));
    if (found !== undefined) return found;
  }
}

describe('two servers behind nginx as the documentation configures it', () => {
  it('serve WebSockets without sticky sessions: an answer is resumed on the other server', async () => {
    const { a, b, url } = await behindNginx(SITE);
    const link = await cuttableLink(url);
    const answer = sdk(link.url, WEBSOCKET).start({ query: 'Where does a river end?' });
    const call = await Promise.race([a.nextCall(), b.nextCall()]);
    const [owner, other] = a.calls.length === 1 ? [a, b] : [b, a];
    call.say('Where a ');
    await snapshotWhen(answer, ({ text }) => text === 'Where a ');
    link.cut();
    await vi.waitFor(async () => {
      expect(await connectionsOf(owner.server)).toBe(0);
      expect(await connectionsOf(other.server)).toBe(1);
    }, 5_000);
    call.say('river ends.');
    call.finish();
    expect(await answer.result).toMatchObject({ text: 'Where a river ends.', attempt: 1 });
    expect(a.calls.length + b.calls.length).toBe(1);
  });

  it.each([
    ['the whole site', SITE],
    ['ip_hash', SITE.replace(UPSTREAM, IP_HASH)],
    ['a cookie', SITE.replace(UPSTREAM, COOKIE)],
  ])(
    'take connections at once after a restart of one and then of the other, with %s',
    async (_, site) => {
      const { a, b, redis, url } = await behindNginx(site);
      // Each goes to the next server, or by a random cookie.
      const connectSome = async (): Promise<void> => {
        for (let visitors = 0; visitors < 12; visitors++)
          expect((await new Polling(url).request()).status).toBe(200);
      };
      for (const { server, provider, url: own } of [b, a]) {
        await server.close();
        await connectSome();
        const port = Number(new URL(own).port);
        await startServer(provider, { port, redis: { url: redis.url } });
      }
      await connectSome();
    },
  );

  it('do not publish their health and metrics', async () => {
    const { a, url } = await behindNginx(SITE);
    for (const path of ['/healthz', '/readyz', '/metrics'])
      expect((await fetch(`${url}${path}`)).status).toBe(404);
    expect((await fetch(`${a.url}/healthz`)).status).toBe(200);
  });

  it('refuse polling without sticky sessions', async () => {
    const { url } = await behindNginx(SITE);
    const polling = await new Polling(url).open();
    const response = await polling.send([`40${JSON.stringify(ME)}`]);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ code: 1, message: 'Session ID unknown' });
  });

  it('serve polling with ip_hash', async () => {
    const { a, b, url } = await behindNginx(SITE.replace(UPSTREAM, IP_HASH));
    const polling = new Polling(url);
    await askByPolling(polling, 'Where does a river end?');
    const call = await Promise.race([a.nextCall(), b.nextCall()]);
    call.say('Where a river ends.');
    call.finish();
    expect(await receiveWith(polling, 'river ends')).toContain('stream_chunk');
  });

  it('serve polling with a cookie, on both servers', async () => {
    const { a, b, url } = await behindNginx(SITE.replace(UPSTREAM, COOKIE));
    const callOf = { a: a.nextCall(), b: b.nextCall() };
    const isCalled = (): boolean => a.calls.length > 0 && b.calls.length > 0;
    // The hash of a random cookie decides.
    for (let visitors = 0; visitors < 40 && !isCalled(); visitors++) {
      const before = a.calls.length + b.calls.length;
      const [setCookie] = (await new Polling(url).request()).headers.getSetCookie();
      expect(setCookie).toMatch(/; Secure; HttpOnly; SameSite=Lax$/);
      const polling = new Polling(url, { cookie: setCookie!.split(';')[0]! });
      await askByPolling(polling, `What is river ${visitors}?`);
      await vi.waitFor(() => expect(a.calls.length + b.calls.length).toBe(before + 1));
    }
    for (const call of [await callOf.a, await callOf.b]) call.finish();
    expect(isCalled()).toBe(true);
  });
});
