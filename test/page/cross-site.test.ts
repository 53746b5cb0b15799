import { createServer, type RequestListener } from 'node:http';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { EVENT } from '@rivulet/protocol';
import { launchChromium } from '../harness/chromium.js';
import { connect, next } from '../harness/plain-client.js';
import { Polling } from '../harness/polling.js';
import { startServer } from '../harness/rivulet.js';
import { sdkPage } from '../harness/sdk-page.js';
import { stage } from '../harness/stage.js';

let browser: Browser;
let sdk: RequestListener;

beforeAll(async () => {
  [browser, sdk] = await Promise.all([
    launchChromium('--host-resolver-rules=MAP *.test 127.0.0.1'),
    sdkPage(),
  ]);
});
afterAll(() => browser.close());

/** Serves the page with the SDK, as the site of someone else. @returns its port. */
async function otherSite(): Promise<number> {
  const http = createServer(sdk);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    http.closeAllConnections();
    http.close();
  });
  return (http.address() as { port: number }).port;
}

type Transport = 'websocket' | 'polling';
const TRANSPORTS: Transport[] = ['websocket', 'polling'];

async function open(url: string, transport: Transport = 'websocket'): Promise<Page> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const page = await context.newPage();
  if (transport === 'polling') {
    // A proxy that passes no WebSocket has the same effect.
    await page.addInitScript(() => {
      globalThis.WebSocket = class {
        onerror: ((event: Event) => void) | undefined;
        constructor() {
          setTimeout(() => this.onerror?.(new Event('error')));
        }
        close(): void {}
      } as never;
    });
  }
  await page.goto(url);
  await page.waitForFunction(() => 'rivulet' in globalThis);
  return page;
}

/** Asks with the SDK. @returns the answer's text, or its error, and the time in milliseconds. */
function ask(page: Page, url?: string) {
  return page.evaluate(async (server) => {
    const client = rivulet.createClient({ ...(server && { url: server }), cache: false });
    const startedAt = performance.now();
    try {
      const { text } = await client.start({ query: 'Where does a river end?' }).result;
      return { text };
    } catch (error) {
      const { code, message } = error as Error & { code: string };
      return { code, message, ms: performance.now() - startedAt };
    } finally {
      client.close();
    }
  }, url);
}

// A browser sends `Sec-Fetch-Site` to 127.0.0.1, which counts as secure, and not to http://rivulet.test.
const HOSTS = ['127.0.0.1', 'rivulet.test'];

describe('a page of another site', () => {
  it.each(HOSTS)('reads nothing of a visitor at %s, and asks nothing', async (host) => {
    const { provider, calls, nextCall } = stage();
    const server = await startServer(provider);
    const visitor = connect(server.url);
    await visitor.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const chunk = next(visitor, EVENT.chunk);
    (await nextCall()).say('the secret of the visitor');
    await chunk;
    const polling = await new Polling(server.url).open();
    await polling.send(['40']);

    const page = await open(`http://evil.test:${await otherSite()}/`);
    const target = `http://${host}:${new URL(server.url).port}`;
    const outcomes = await attack(page, target, polling.sid!);
    expect(outcomes.jsonp).toBe('failed');
    expect(outcomes.script).toBe('failed');
    expect(outcomes.known).toBe('failed');
    for (const packets of [outcomes.polling, outcomes.socket]) {
      const [opened, refusal, ...more] = packets.filter((packet) => /^[04]/.test(packet));
      expect(opened).toMatch(/^0\{"sid"/);
      expect(refusal).toMatch(/^44\{.*unauthorized/);
      expect(more).toEqual([]);
    }
    expect(JSON.stringify(outcomes)).not.toContain('secret');
    expect(calls).toHaveLength(1);
    // None of it has touched the visitor's connections.
    expect((await polling.send(['3'])).status).toBe(200);
    expect((await visitor.emitWithAck(EVENT.list, {})).streams).toHaveLength(1);
  });

  it.each(HOSTS.flatMap((host) => TRANSPORTS.map((transport) => [host, transport] as const)))(
    'fails at %s by %s with `unauthorized` and its origin, before the timeout of the WebSocket',
    async (host, transport) => {
      const { provider, calls } = stage();
      const server = await startServer(provider);
      const origin = `http://evil.test:${await otherSite()}`;
      const page = await open(origin, transport);
      const { code, message, ms } = await ask(page, `http://${host}:${new URL(server.url).port}`);
      expect({ code, message }).toEqual({
        code: 'unauthorized',
        message: expect.stringContaining(`${origin} is not allowed`),
      });
      expect(message).toContain('ALLOWED_ORIGINS');
      expect(ms).toBeLessThan(3_500);
      expect(calls).toEqual([]);
    },
  );

  it.each(HOSTS.flatMap((host) => TRANSPORTS.map((transport) => [host, transport] as const)))(
    'gets its answer from %s by %s once it is allowed',
    async (host, transport) => {
      const { provider, nextCall } = stage();
      const origin = `http://allowed.test:${await otherSite()}`;
      const server = await startServer(provider, { allowedOrigins: [origin] });
      const page = await open(origin, transport);
      const answer = ask(page, `http://${host}:${new URL(server.url).port}`);
      const call = await nextCall();
      call.say('In the sea.');
      call.finish();
      expect(await answer).toEqual({ text: 'In the sea.' });
    },
  );
});

describe('the server’s own page', () => {
  it.each(TRANSPORTS)('gets its answer by %s', async (transport) => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider, { page: sdk });
    const answer = ask(await open(server.url, transport));
    const call = await nextCall();
    call.say('In the sea.');
    call.finish();
    expect(await answer).toEqual({ text: 'In the sea.' });
  });

  it.each(TRANSPORTS)(
    'fails by %s with `unauthorized` where its name is not allowed yet, before the timeout of the WebSocket',
    async (transport) => {
      const { provider, calls } = stage();
      const server = await startServer(provider, { page: sdk });
      const origin = `http://rivulet.test:${new URL(server.url).port}`;
      const { code, message, ms } = await ask(await open(origin, transport));
      expect(code).toBe('unauthorized');
      expect(message).toContain(`${origin} is not allowed`);
      expect(ms).toBeLessThan(3_500);
      expect(calls).toEqual([]);
    },
  );
});

/** Tries each way to the server that a page has, the last of them with the id of a visitor's connection. */
function attack(page: Page, target: string, knownSid: string) {
  const start = `42${JSON.stringify([EVENT.start, { query: 'asked from another site' }])}`;
  return page.evaluate(
    async ([server, packet, victim]) => {
      const url = `${server}/socket.io/?EIO=4&transport=polling`;

      const script = (src: string) =>
        new Promise<string>((resolve) => {
          const element = document.createElement('script');
          addEventListener('error', () => resolve('failed'), { once: true });
          element.addEventListener('error', () => resolve('failed'));
          Object.assign(globalThis, { ___eio: [(payload: string) => resolve(payload)] });
          element.src = src;
          document.body.append(element);
        });

      async function poll(): Promise<string[]> {
        const packets: string[] = [];
        const opened = await (await fetch(url)).text();
        packets.push(opened);
        const { sid } = JSON.parse(opened.slice(1)) as { sid: string };
        const own = `${url}&sid=${sid}`;
        await fetch(own, { method: 'POST', body: '40' });
        await fetch(own, { method: 'POST', body: packet }).catch(() => {});
        for (;;) {
          const response = await fetch(own);
          if (!response.ok) return packets;
          packets.push(...(await response.text()).split('\u001e'));
        }
      }

      const connectSocket = () =>
        new Promise<string[]>((resolve) => {
          const packets: string[] = [];
          const socket = new WebSocket(
            `${server.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`,
          );
          socket.addEventListener('message', ({ data }) => {
            packets.push(String(data));
            if (packets.length === 1) socket.send('40');
            else socket.send(packet);
          });
          socket.addEventListener('close', () => resolve(packets));
        });

      /** Posts to the visitor's connection, in each way that needs no permission. */
      async function post(): Promise<string> {
        const victimUrl = `${url}&sid=${victim}`;
        const body = `d=${encodeURIComponent(packet)}`;
        const type = 'application/x-www-form-urlencoded';
        const init: RequestInit = { method: 'POST', mode: 'no-cors' };
        await fetch(victimUrl, { ...init, body: packet });
        await fetch(`${victimUrl}&j=0`, { ...init, body, headers: { 'content-type': type } });
        navigator.sendBeacon(victimUrl, packet);
        const frame = document.createElement('iframe');
        frame.name = 'form';
        document.body.append(frame);
        const form = document.createElement('form');
        Object.assign(form, { method: 'POST', target: 'form', action: victimUrl });
        form.enctype = 'text/plain';
        const field = document.createElement('input');
        Object.assign(field, { name: packet, value: '' });
        form.append(field);
        document.body.append(form);
        const loaded = new Promise((resolve) => frame.addEventListener('load', resolve));
        form.submit();
        await loaded;
        try {
          const response = await fetch(victimUrl);
          return response.ok ? await response.text() : 'failed';
        } catch {
          return 'failed';
        }
      }

      return {
        jsonp: await script(`${url}&j=0`),
        script: await script(url),
        polling: await poll(),
        socket: await connectSocket(),
        known: await post(),
      };
    },
    [target, start, knownSid] as const,
  );
}
