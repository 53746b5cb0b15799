import { randomBytes } from 'node:crypto';
import type { ServerOptions } from '@rivulet/server';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import {
  ask,
  createClientIn,
  openTab,
  sdkPage,
  shown,
  stagedBrowser,
  stored,
} from '../harness/sdk-page.js';
import { answer as say } from '../harness/tools.js';

let browser: Browser;
let page: NonNullable<ServerOptions['page']>;
beforeAll(async () => {
  [browser, page] = await Promise.all([launchChromium(), sdkPage()]);
});
afterAll(() => browser.close());

const staged = () => stagedBrowser(browser, { page, env: { LLM_CACHE_ENABLED: 'false' } });

/** Asks `count` questions in `tab`, each with an answer of `units`. */
async function keep(
  tab: Page,
  nextCall: Awaited<ReturnType<typeof staged>>['nextCall'],
  count: number,
  units: number,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    await ask(tab, `Question ${i}`);
    // Random text, since text that repeats itself takes little room.
    say(await nextCall(), randomBytes(units / 2).toString('hex'));
    await shown(tab, { status: 'done' });
  }
}

describe('without a connection', () => {
  it('a kept answer is there, and the page connects to nothing', async () => {
    const { server, context, calls, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    await keep(tab, nextCall, 1, 100);
    await expect.poll(() => stored(tab, 'b')).toHaveLength(1);
    let sockets = 0;
    tab.on('websocket', () => (sockets += 1));
    await tab.reload();
    await context.setOffline(true);
    await createClientIn(tab);
    await ask(tab, 'Question 0');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ source: 'browser-cache' });
    await ask(tab, 'Question 1', 'only-if-cached');
    expect(await shown(tab, { status: 'failed' })).toMatchObject({ code: 'not_found' });
    expect(sockets).toBe(0);

    // Another question waits for one.
    await ask(tab, 'Question 2');
    await shown(tab, { status: 'reconnecting' });
    expect(calls).toHaveLength(1);
    await context.setOffline(false);
    say(await nextCall(), 'At last.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'At last.' });
  });

  it('an answer under way goes on where it was once it is back', async () => {
    const { server, context, calls, nextCall } = await staged();
    // Socket.IO does not believe that a page of `localhost` can be offline.
    const tab = await openTab(context, server.url.replace('localhost', '127.0.0.1'));
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await shown(tab, { text: 'Where a ' });
    await context.setOffline(true);
    await shown(tab, { status: 'reconnecting', text: 'Where a ' });
    call.say('river ');
    await context.setOffline(false);
    await shown(tab, { text: 'Where a river ', status: 'streaming' });
    say(call, 'ends.');
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'Where a river ends.' });
    expect(calls).toHaveLength(1);
  });
});

describe('a browser that gives the page little room', () => {
  it('has older answers leave for newer ones, and never fails', async () => {
    const { server, context, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    const complaints: string[] = [];
    tab.on('pageerror', ({ message }) => void complaints.push(message));
    const cdp = await context.newCDPSession(tab);
    await cdp.send('Storage.overrideQuotaForOrigin', {
      origin: new URL(server.url).origin,
      quotaSize: 300_000,
    });
    await keep(tab, nextCall, 12, 50_000);
    // The newest is there whatever happened, in IndexedDB or in this page.
    await expect
      .poll(async () => {
        await ask(tab, 'Question 11', 'only-if-cached');
        return tab.evaluate(() => answer.result.then(({ source }) => source).catch(() => 'none'));
      })
      .toBe('browser-cache');
    expect((await stored(tab, 'b')).length).toBeLessThan(12);
    expect(complaints).toEqual([]);
  });
});
