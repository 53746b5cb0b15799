import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { type DemoPage, stagedDemo } from '../harness/demo.js';
import { providerConfigOf } from '../harness/providers.js';
import { stage } from '../harness/stage.js';
import { answer as say, held } from '../harness/tools.js';

let browser: Browser;
beforeAll(async () => void (browser = await launchChromium()));
afterAll(() => browser.close());

const says = (demo: DemoPage, words: RegExp | string) =>
  expect.poll(() => demo.status.textContent()).toMatch(words);

/** Moves the page's clock, and none of its timers. */
const skip = (demo: DemoPage, ms: number) => demo.page.clock.setFixedTime(Date.now() + ms);

describe('the status line', () => {
  it('says what an answer waits for, as long as that is true', async () => {
    const height = held('height');
    const { demo, nextCall } = await stagedDemo(browser, { server: { tools: [height.tool] } });
    await says(demo, /^$/);
    await demo.ask('How high is it?');
    const call = await nextCall();
    await says(demo, /^Waiting for the first words/);
    call.think('I need to look.');
    await says(demo, /^Thinking/);
    call.callTool('height', { of: 'it' });
    call.finish();
    await expect.poll(() => height.runs.length).toBe(1);
    await says(demo, /^Using height/);
    height.runs[0]!.give(9);
    const second = await nextCall();
    second.say('It is ');
    await says(demo, /^Generating/);
    say(second, '9 m.');
    await says(demo, /^$/);
  });

  it('says that no text has come for a while, before and after the first', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    const call = await nextCall();
    await says(demo, /^Waiting/);
    await skip(demo, 9_000);
    await says(demo, /^No text for a while.*no text for (9|1\d) s$/);
    expect(await demo.status.getAttribute('data-tone')).toBe('slow');
    call.say('Where a ');
    await says(demo, /^Generating/);
    await skip(demo, 30_000);
    await says(demo, /^No text for a while.*no text for (2\d|3\d) s$/);
    say(call, 'river ends.');
    await says(demo, /^$/);
  });

  it('says the place in the queue', async () => {
    const { provider, nextCall } = stage();
    const providers = [providerConfigOf(provider, { concurrency: 1 })] as const;
    const { demo } = await stagedDemo(browser, { server: { providers } });
    await demo.ask('What is a delta?');
    const first = await nextCall();
    await demo.newChat();
    await demo.ask('What is an estuary?');
    await says(demo, /^In the queue: 1 question is before yours/);
    say(first, 'Where a river ends.');
    const second = await nextCall();
    await says(demo, /^Waiting for the first words/);
    say(second, 'A drowned valley.');
    await says(demo, /^$/);
    expect(await demo.part('answer-text').textContent()).toBe('A drowned valley.');
  });

  it('says that the connection is lost, that the answer is caught up, and loses no text', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a ');
    await demo.shows('Where a');
    await demo.page.context().setOffline(true);
    await says(demo, /^You are offline\. The text so far stays/);
    expect(await demo.status.getAttribute('data-tone')).toBe('lost');
    expect(await demo.page.getByTestId('connection').textContent()).toBe('Offline');
    call.say('river ');
    await demo.page.context().setOffline(false);
    await says(demo, /^Reconnected; generating/);
    await demo.shows('Where a river');
    say(call, 'ends.');
    await demo.shows('Where a river ends.');
    await says(demo, /^$/);
  });

  it('says that the server is away, and what can still be read', async () => {
    const { demo, nextCall, restart } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    say(await nextCall(), 'Where a river ends.');
    await demo.reaches('done');
    const said: string[] = [];
    await demo.page.exposeFunction('said', (text: string) => void said.push(text));
    await demo.status.evaluate((line) => {
      new MutationObserver(() => Object(globalThis).said(line.textContent)).observe(line, {
        childList: true,
      });
    });
    await restart();
    await expect
      .poll(() => said.join('\n'))
      .toContain('Connection lost, reconnecting. What this browser keeps can still be read.');
    await demo.page.locator('[data-connection=connected]').waitFor();
    await says(demo, /^$/);
  });
});

describe('a screen reader', () => {
  it('hears sentences and never a token', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    const heard: string[] = [];
    await demo.page.exposeFunction('heard', (text: string) => void heard.push(text));
    await demo.page.evaluate(() => {
      for (const region of document.querySelectorAll('[role=status], [role=alert], [aria-live]')) {
        new MutationObserver(() => Object(globalThis).heard(region.textContent)).observe(region, {
          childList: true,
          subtree: true,
          characterData: true,
        });
      }
    });
    await demo.ask('What is a delta?');
    const call = await nextCall();
    await says(demo, /^Waiting/);
    for (const word of 'Where a river meets the sea, it drops what it carries.'.split(' ')) {
      call.say(`${word} `);
      await expect.poll(() => demo.part('answer-text').textContent()).toContain(word);
    }
    call.finish();
    await demo.reaches('done');
    await expect.poll(() => heard.at(-1)).toBe('Response complete.');
    expect(heard).toContain('Generating.');
    expect(heard.join(' ')).not.toContain('river');
    expect(heard.length).toBeLessThanOrEqual(5);
    expect(await demo.answer.getAttribute('aria-busy')).toBe('false');

    await demo.ask('And an estuary?');
    const second = await nextCall();
    second.say('A drowned');
    await demo.shows('A drowned');
    await demo.page.keyboard.press('Escape');
    await expect.poll(() => heard.at(-1)).toBe('Stopped before its end.');
  });
});
