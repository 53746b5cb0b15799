import type { ServerOptions } from '@rivulet/server';
import type { Browser, BrowserContext } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { ask, openTab, sdkPage, shown, stagedBrowser, stored } from '../harness/sdk-page.js';
import { answer as say } from '../harness/tools.js';

let browser: Browser;
let page: NonNullable<ServerOptions['page']>;
beforeAll(async () => {
  [browser, page] = await Promise.all([launchChromium(), sdkPage()]);
});
afterAll(() => browser.close());

const staged = () => stagedBrowser(browser, { page, env: { LLM_CACHE_ENABLED: 'false' } });

/** Counts the whole answers that the context's pages have written. */
async function countWrites(context: BrowserContext): Promise<() => number> {
  let writes = 0;
  await context.exposeFunction('wrote', () => void (writes += 1));
  await context.addInitScript(() => {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      if (typeof key === 'string' && key.startsWith('b:')) Object(globalThis).wrote();
      return put.call(this, value, key);
    };
  });
  return () => writes;
}

describe('two tabs of one browser', () => {
  it('that ask the same share one generation, both see it live, and it is written once', async () => {
    const { server, context, calls, nextCall } = await staged();
    const writes = await countWrites(context);
    const tabs = await Promise.all([openTab(context, server.url), openTab(context, server.url)]);
    await Promise.all(tabs.map((tab) => ask(tab)));
    const call = await nextCall();
    // Each has its own stream, and the server knows both.
    const active = () =>
      tabs[0].evaluate(
        () =>
          new Promise<number>((resolve) => {
            const other = rivulet.createClient({ cache: false });
            other.active$.subscribe(({ length }) => {
              if (length === 2) resolve(length);
            });
          }),
      );
    expect(await active()).toBe(2);
    call.say('Where a ');
    for (const tab of tabs) await shown(tab, { text: 'Where a ', status: 'streaming' });
    say(call, 'river ends.');
    for (const tab of tabs) {
      expect(await shown(tab, { status: 'done' })).toMatchObject({
        text: 'Where a river ends.',
        source: 'model',
      });
    }
    await expect.poll(() => stored(tabs[1], 'b')).toHaveLength(1);
    await expect.poll(() => stored(tabs[1], 'j')).toEqual([]);
    expect(calls).toHaveLength(1);
    expect(writes()).toBe(1);
  });

  it('that ask the same one after the other ask once', async () => {
    const { server, context, calls, nextCall } = await staged();
    const first = await openTab(context, server.url);
    const second = await openTab(context, server.url);
    await ask(first);
    say(await nextCall(), 'Where a river ends.');
    await shown(first, { status: 'done' });
    await expect.poll(() => stored(first, 'b')).toHaveLength(1);
    await ask(second);
    expect(await shown(second, { status: 'done' })).toMatchObject({
      text: 'Where a river ends.',
      source: 'browser-cache',
      provider: 'stage',
    });
    expect(calls).toHaveLength(1);
  });

  it('forget everything when one clears, also what the other is reading', async () => {
    const { server, context, nextCall } = await staged();
    const first = await openTab(context, server.url);
    const second = await openTab(context, server.url);
    await ask(first, 'Before');
    say(await nextCall(), 'Kept.');
    await shown(first, { status: 'done' });
    await expect.poll(() => stored(first, 'b')).toHaveLength(1);
    await ask(second, 'Under way');
    const call = await nextCall();
    call.say('Where a ');
    await expect.poll(() => stored(second, 'j')).toHaveLength(1);

    await first.evaluate(() => client.cache.clear());
    expect(await stored(second, 'b')).toEqual([]);
    expect(await stored(second, 'j')).toEqual([]);
    // The answer goes on, and neither its text nor its end is written.
    call.say('river ');
    await shown(second, { text: 'Where a river ' });
    await second.evaluate(() => dispatchEvent(new Event('pagehide')));
    say(call, 'ends.');
    await shown(second, { status: 'done' });
    await ask(second, 'After');
    say(await nextCall(), 'Kept again.');
    await expect
      .poll(() => stored(second, 'b'))
      .toMatchObject([[expect.stringMatching(/^b:/), { text: 'Kept again.' }]]);
    expect(await stored(second, 'j')).toEqual([]);
  });

  it('know of each other’s answers, and one that stops it stops it for both', async () => {
    const { server, context, nextCall } = await staged();
    const first = await openTab(context, server.url);
    await ask(first);
    const call = await nextCall();
    call.say('Where a ');
    await shown(first, { text: 'Where a ' });
    const second = await openTab(context, server.url);
    const id = await first.evaluate(() => answer.id);
    await second.evaluate((known) => void (globalThis.answer = client.resume(known)), id);
    await shown(second, { text: 'Where a ', status: 'streaming' });
    await second.evaluate(() => answer.cancel());
    await call.aborted;
    expect((await shown(first, { status: 'cancelled' })).text).toBe('Where a ');
    await expect.poll(() => stored(first, 'j')).toEqual([]);
  });
});
