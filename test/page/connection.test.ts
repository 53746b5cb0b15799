import type { ServerOptions } from '@rivulet/server';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { cuttableLink } from '../harness/link.js';
import { ask, openTab, sdkPage, shown, stagedBrowser } from '../harness/sdk-page.js';
import { answer as say } from '../harness/tools.js';
import { websocketProxy } from '../harness/websocket-proxy.js';

let browser: Browser;
let page: NonNullable<ServerOptions['page']>;
beforeAll(async () => {
  [browser, page] = await Promise.all([launchChromium(), sdkPage()]);
});
afterAll(() => browser.close());

const staged = () => stagedBrowser(browser, { page, env: { LLM_CACHE_ENABLED: 'false' } });

/** Resolves with the connection's state once it has that status. */
const connection = (tab: Page, status: string) =>
  tab.evaluate(
    (wanted) =>
      new Promise((resolve) => {
        client.connection$.subscribe((state) => state.status === wanted && resolve(state));
      }),
    status,
  );

describe('a page', () => {
  it('behind a proxy that never answers a WebSocket handshake gets its answer by polling', async () => {
    const { server, context, nextCall } = await staged();
    const proxy = await websocketProxy(server.url, () => 'never answer');
    const tab = await openTab(context, proxy.url);
    await ask(tab);
    say(await nextCall(), 'It ends.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'It ends.' });
  });

  it.each([
    ['throws', 'class { constructor() { throw new Error("blocked"); } }'],
    ['is missing', 'undefined'],
  ])('where WebSocket %s gets its answer by polling', async (_, value) => {
    const { server, context, nextCall } = await staged();
    await context.addInitScript(`globalThis.WebSocket = ${value};`);
    const tab = await openTab(context, server.url);
    await ask(tab);
    say(await nextCall(), 'It ends.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'It ends.' });
  });

  it('says that it is offline, and connects at once when it is online again', async () => {
    const { server, context } = await staged();
    await context.addInitScript(() => {
      const { WebSocket } = globalThis;
      Object.assign(globalThis, {
        sockets: 0,
        WebSocket: class extends WebSocket {
          constructor(url: string) {
            super(url);
            Object(globalThis).sockets += 1;
          }
        },
      });
    });
    // Socket.IO does not believe that a page of `localhost` can be offline.
    const tab = await openTab(context, server.url.replace('localhost', '127.0.0.1'));
    await tab.evaluate(() => void client.active$.subscribe());
    await connection(tab, 'connected');
    await context.setOffline(true);
    expect(await connection(tab, 'reconnecting')).toEqual({
      status: 'reconnecting',
      reason: 'offline',
    });
    // The event opens a socket in the same turn, whichever wait it interrupts.
    const tried = await tab.evaluate(() => {
      const before = Object(globalThis).sockets;
      dispatchEvent(new Event('online'));
      return Object(globalThis).sockets - before;
    });
    expect(tried).toBe(1);
    await context.setOffline(false);
    await connection(tab, 'connected');
  });
});

describe('a Web Worker', () => {
  it('asks, and reads on at once when the network is back', async () => {
    const { server, context, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const tab = await openTab(context, server.url);
    const reading = tab.waitForEvent('console', (message) => message.text() === 'Where a ');
    const done = tab.evaluate(
      ([url, origin]) =>
        new Promise((resolve, reject) => {
          const source = `
            let sockets = 0;
            globalThis.WebSocket = class extends WebSocket {
              constructor(url) { super(url); sockets += 1; }
            };
            await import('${origin}/sdk.js');
            const browserId = 'the-secret-of-the-device';
            const client = rivulet.createClient({ url: '${url}', browserId });
            const answer = client.start({ query: 'What is a delta?' });
            let tried;
            answer.text$.subscribe((text) => console.log(text));
            client.connection$.subscribe(({ status, attempts }) => {
              if (status !== 'reconnecting' || tried !== undefined) return;
              const before = sockets;
              dispatchEvent(new Event('online'));
              tried = sockets - before;
            });
            const { text } = await answer.result;
            postMessage({ text, tried });
          `;
          const blob = new Blob([source], { type: 'text/javascript' });
          const worker = new Worker(URL.createObjectURL(blob), { type: 'module' });
          worker.addEventListener('message', ({ data }) => resolve(data));
          worker.addEventListener('error', ({ message }) => reject(new Error(message)));
        }),
      [link.url, server.url],
    );
    const call = await nextCall();
    call.say('Where a ');
    await reading;
    link.cut();
    call.say('river ends.');
    call.finish();
    expect(await done).toEqual({ text: 'Where a river ends.', tried: 1 });
  });
});
