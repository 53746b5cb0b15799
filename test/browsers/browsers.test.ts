import type { ServerOptions } from '@rivulet/server';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Engine, launchEngine, type TestBrowser } from '../harness/browsers.js';
import { npmStart } from '../harness/demo.js';
import { cuttableLink } from '../harness/link.js';
import {
  ask,
  createClientIn,
  openTab,
  resume,
  sdkPage,
  shown,
  stagedBrowser,
  stored,
} from '../harness/sdk-page.js';
import { answer as say } from '../harness/tools.js';
import { websocketProxy } from '../harness/websocket-proxy.js';

const ENGINES = (process.env['BROWSERS'] ?? 'chromium,firefox,webkit').split(',') as Engine[];
const denied = (name: string): string =>
  `Object.defineProperty(globalThis, '${name}', { get() { throw new DOMException('no', 'SecurityError'); } });`;
/** Scripts that run before the SDK, by the page's path. */
const SCRIPTS = {
  '/no-storage': denied('indexedDB') + denied('localStorage'),
  '/no-websocket': 'globalThis.WebSocket = undefined;',
  '/counted': `globalThis.requests = 0;
    const { open } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.open = function (...args) { requests += 1; return open.apply(this, args); };
    globalThis.WebSocket = class extends WebSocket {
      constructor(...args) { super(...args); requests += 1; }
    };`,
  '/closes': `addEventListener('pagehide', () => client.close());`,
};

let page: NonNullable<ServerOptions['page']>;
beforeAll(async () => {
  page = await sdkPage(SCRIPTS);
});

describe.each(ENGINES)('in %s', (engine) => {
  let browser: TestBrowser;
  beforeAll(async () => {
    browser = await launchEngine(engine);
  });
  afterAll(async () => void (await browser?.close()));

  const staged = () => stagedBrowser(browser, { page, env: { LLM_CACHE_ENABLED: 'false' } });

  it('the demo answers a question', async () => {
    const demo = await npmStart({ LLM_MODE: 'docs' });
    onTestFinished(async () => void (await demo.stop('SIGINT')));
    const context = await browser.newContext();
    onTestFinished(async () => void (await context.close()));
    const tab = await context.newPage();
    await tab.goto(demo.url);
    const count = (selector: string) =>
      tab.evaluate((selected) => document.querySelectorAll(selected).length, selector);
    await expect.poll(() => count('[data-connection=connected]')).toBe(1);
    await tab.evaluate(() => {
      const field = document.querySelector('textarea')!;
      field.value = 'What is Rivulet?';
      field.dispatchEvent(new Event('input', { bubbles: true }));
      document.querySelector<HTMLButtonElement>('#send')!.click();
    });
    await expect.poll(() => count('article[data-status=done]'), { timeout: 20_000 }).toBe(1);
    const text = await tab.evaluate(() => document.querySelector('article')!.textContent);
    expect(text).toContain('not a language model');
  });

  it('an answer streams, is kept, and is asked for again with nothing sent', async () => {
    const { server, context, calls, nextCall } = await staged();
    const tab = await openTab(context, `${server.url}/counted`);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await shown(tab, { text: 'Where a ', status: 'streaming' });
    say(call, 'river ends.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'Where a river ends.' });
    await expect.poll(() => stored(tab, 'b')).toHaveLength(1);
    await tab.reload();
    await createClientIn(tab);
    await ask(tab);
    expect(await shown(tab, { status: 'done' })).toMatchObject({
      text: 'Where a river ends.',
      source: 'browser-cache',
    });
    expect(await tab.evaluate(() => Object(globalThis).requests as number)).toBe(0);
    expect(calls).toHaveLength(1);
  });

  it('a stopped answer keeps its text, and the model stops', async () => {
    const { server, context, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await shown(tab, { text: 'Where a ' });
    await tab.evaluate(() => answer.cancel());
    await call.aborted;
    expect((await shown(tab, { status: 'cancelled' })).text).toBe('Where a ');
  });

  it('a page that is reloaded in mid-answer has the last text at once, and reads on', async () => {
    const { server, context, calls, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await shown(tab, { text: 'Where a ' });
    // Within half a second of the write before it: the page stores it while it is unloaded.
    call.say('river ');
    await shown(tab, { text: 'Where a river ' });
    await tab.reload();
    const left = (await stored(tab, 'j')).map(([, entry]) => entry);
    expect(left).toMatchObject([{ received: { text: 'Where a river ' } }]);
    await createClientIn(tab);
    await resume(tab);
    await shown(tab, { text: 'Where a river ' });
    say(call, 'ends.');
    expect((await shown(tab, { status: 'done' })).text).toBe('Where a river ends.');
    expect(calls).toHaveLength(1);
  });

  it('a second tab shows the answer live, and stops it', async () => {
    const { server, context, nextCall } = await staged();
    const first = await openTab(context, server.url);
    const second = await openTab(context, server.url);
    await ask(first);
    const call = await nextCall();
    call.say('Where a ');
    await resume(second);
    await shown(second, { text: 'Where a ', status: 'streaming' });
    await second.evaluate(() => answer.cancel());
    await call.aborted;
    expect((await shown(first, { status: 'cancelled' })).text).toBe('Where a ');
  });

  it('a connection that is cut costs no text', async () => {
    const { server, context, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const tab = await openTab(context, link.url);
    await ask(tab);
    const call = await nextCall();
    for (const word of ['Where ', 'a ', 'river ']) {
      call.say(word);
      await shown(tab, { status: 'streaming' });
      link.cut();
    }
    say(call, 'ends.');
    expect((await shown(tab, { status: 'done' })).text).toBe('Where a river ends.');
  });

  it.each(['/no-storage', '/no-websocket'])('a page with %s has its answer', async (path) => {
    const { server, context, nextCall } = await staged();
    const tab = await openTab(context, server.url + path);
    await ask(tab);
    say(await nextCall(), 'It ends.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'It ends.' });
  });

  it('a WebSocket handshake that is never answered leads to polling', async () => {
    const { server, context, nextCall } = await staged();
    const proxy = await websocketProxy(server.url, () => 'never answer');
    const tab = await openTab(context, proxy.url);
    await ask(tab);
    say(await nextCall(), 'It ends.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'It ends.' });
    expect(proxy.seen).toContain('polling');
  });

  it('a client that is closed while its page is left locks no database', async () => {
    const { server, context, nextCall } = await staged();
    const tab = await openTab(context, `${server.url}/closes`);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await expect.poll(() => stored(tab, 'j')).toHaveLength(1);
    await tab.goto(`${server.url}/another`);
    // WebKit keeps the page before in its back/forward cache. It hangs here if a transaction is still open.
    expect(await stored(tab, 'j')).toEqual([]);
    await createClientIn(tab);
    await ask(tab, 'Another');
    say(await nextCall(), 'It ends.');
    await shown(tab, { status: 'done' });
    await expect.poll(() => stored(tab, 'b')).toHaveLength(1);
  });

  it.skipIf(engine !== 'firefox')('a browser that blocks cookies has its answer', async () => {
    const { server, nextCall } = await staged();
    const context = await browser.newContext({ blocksCookies: true });
    onTestFinished(async () => void (await context.close()));
    const tab = await openTab(context, server.url);
    const isBlocked = await tab.evaluate(() => {
      try {
        new BroadcastChannel('any').close();
        return false;
      } catch {
        return true;
      }
    });
    expect(isBlocked).toBe(true);
    await ask(tab);
    say(await nextCall(), 'It ends.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'It ends.' });
    await tab.evaluate(() => client.cache.clear());
  });
});
