import type { ServerOptions } from '@rivulet/server';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { cuttableLink } from '../harness/link.js';
import { ask, openTab, sdkPage, shown, stagedBrowser } from '../harness/sdk-page.js';

let browser: Browser;
let page: NonNullable<ServerOptions['page']>;
beforeAll(async () => {
  [browser, page] = await Promise.all([launchChromium(), sdkPage()]);
});
afterAll(() => browser.close());

const STREAMS = 20;
const PIECES = 200;

/** Asks, and draws each answer in an element of its own; counts how often. */
function drawAll(tab: Page, count: number) {
  return tab.evaluate(async (streams) => {
    const startedAt = performance.now();
    let frames = 0;
    let draws = 0;
    const countFrame = (): void => {
      frames += 1;
      requestAnimationFrame(countFrame);
    };
    requestAnimationFrame(countFrame);
    const texts = Array.from({ length: streams }, (_, i) => {
      const element = document.body.appendChild(document.createElement('p'));
      const answer = client.start({ query: `${i}` });
      const drawn = new Promise((complete) => {
        answer.state$.pipe(rivulet.perFrame()).subscribe({
          next(snapshot) {
            draws += 1;
            element.textContent = snapshot.text;
          },
          complete: () => complete(undefined),
        });
      });
      return drawn.then(() => element.textContent);
    });
    const shownTexts = await Promise.all(texts);
    return { texts: shownTexts, draws, frames, elapsedMs: performance.now() - startedAt };
  }, count);
}

describe('a page', () => {
  it.each([1, 6])(
    'shows twenty answers at once, each whole, on a processor %d times slower',
    async (rate) => {
      const { server, context, nextCall } = await stagedBrowser(browser, { page });
      const tab = await openTab(context, server.url);
      const cdp = await context.newCDPSession(tab);
      await cdp.send('Emulation.setCPUThrottlingRate', { rate });
      const drawn = drawAll(tab, STREAMS);
      const calls = [];
      for (let i = 0; i < STREAMS; i++) calls.push(await nextCall());
      const piece = (n: number): string => `piece ${n} 🪨, `;
      for (let n = 0; n < PIECES; n++) {
        for (const call of calls) call.say(piece(n));
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const call of calls) call.finish();
      const { texts, draws, frames, elapsedMs } = await drawn;
      const whole = Array.from({ length: PIECES }, (_, n) => piece(n)).join('');
      expect(texts).toEqual(Array.from({ length: STREAMS }, () => whole));
      // The first and the last of each may come between frames, and one that has waited for 100 ms.
      expect(draws).toBeLessThanOrEqual((frames + elapsedMs / 100 + 2) * STREAMS);
    },
  );

  it('that is frozen in the middle of an answer shows the rest when it thaws', async () => {
    const { server, context, nextCall } = await stagedBrowser(browser, { page });
    const link = await cuttableLink(server.url);
    const tab = await openTab(context, link.url);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await shown(tab, { text: 'Where a ' });
    const cdp = await context.newCDPSession(tab);
    await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
    call.say('river ');
    link.cut();
    call.say('ends.');
    call.finish();
    await cdp.send('Page.setWebLifecycleState', { state: 'active' });
    expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'Where a river ends.' });
  });

  it.each(['online', 'pageshow'])(
    'connects again at once on `%s`, whatever its timers do',
    async (event) => {
      const { server, context, nextCall } = await stagedBrowser(browser, { page });
      const link = await cuttableLink(server.url);
      const tab = await context.newPage();
      await tab.clock.install();
      await tab.goto(link.url);
      await tab.evaluate(() => void (globalThis.client = rivulet.createClient({ cache: false })));
      await ask(tab);
      const call = await nextCall();
      call.say('Where a ');
      await shown(tab, { text: 'Where a ' });
      await tab.clock.pauseAt(Date.now() + 60_000);
      link.cut();
      call.say('river ends.');
      call.finish();
      await shown(tab, { status: 'reconnecting' });
      await tab.evaluate((name) => dispatchEvent(new Event(name)), event);
      expect(await shown(tab, { status: 'done' })).toMatchObject({ text: 'Where a river ends.' });
    },
  );
});
