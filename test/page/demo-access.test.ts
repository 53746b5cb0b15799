import type { Browser, BrowserContextOptions } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { stagedDemo, type StagedDemo } from '../harness/demo.js';
import { answer as say } from '../harness/tools.js';

let browser: Browser;
beforeAll(async () => void (browser = await launchChromium()));
afterAll(() => browser.close());

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

const ANSWER = `Where a river **ends**.

## Kinds

| Kind | Where |
|---|---|
| Arcuate | [Nile](https://example.com) |

\`\`\`ts
const delta: string = 'river'; // a comment
\`\`\`

- [x] done
- [ ] open
`;

/** A chat with every kind of message: thoughts, code, versions, one stopped, one failed, one that waits. */
async function fullChat(options: BrowserContextOptions): Promise<StagedDemo> {
  const staged = await stagedDemo(browser, options);
  const { demo, nextCall } = staged;
  await demo.ask('What is a delta?');
  const first = await nextCall();
  first.think('It is about rivers.');
  say(first, ANSWER);
  await demo.reaches('done');
  await demo.part('regenerate').click();
  say(await nextCall(), ANSWER);
  await demo.reaches('done');
  await demo.ask('Stop here');
  (await nextCall()).say('Half');
  await demo.shows('Half');
  await demo.stop();
  await demo.reaches('cancelled');
  await demo.ask('Fail here');
  const failing = await nextCall();
  failing.say('Half');
  await demo.shows('Half');
  failing.fail(new Error('no'));
  await demo.reaches('failed');
  await demo.ask('Run on');
  (await nextCall()).say('Running');
  await demo.shows('Running');
  await demo.ask('And then?');
  await expect.poll(() => demo.question.getByTestId('queued').isVisible()).toBe(true);
  return staged;
}

describe.each([
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['light on a phone', { colorScheme: 'light', ...PHONE }],
  ['dark on a phone', { colorScheme: 'dark', ...PHONE }],
] as const)('in %s, axe-core', (_, options) => {
  it('finds nothing in a new chat, a full one, an editor, the list of chats and a dialog', async () => {
    const { demo } = await stagedDemo(browser, { ...options, reducedMotion: 'reduce' });
    expect(await demo.findings()).toEqual([]);
    await demo.page.context().close();

    const full = (await fullChat({ ...options, reducedMotion: 'reduce' })).demo;
    expect(await full.findings()).toEqual([]);
    await full.question.getByTestId('edit').click();
    expect(await full.findings()).toEqual([]);
    await full.page.keyboard.press('Escape');
    if ('isMobile' in options) await full.page.locator('#open-sidebar').click();
    await full.page.getByRole('searchbox').fill('delta');
    await full.page.locator('.chat-preview mark').waitFor();
    expect(await full.findings()).toEqual([]);
    await full.page.getByRole('button', { name: 'Clear what this browser keeps' }).click();
    expect(await full.findings()).toEqual([]);
  });
});

describe.each([390, 768, 1440])('at %i px', (width) => {
  it('only the conversation scrolls, never the document, and nothing is cut off', async () => {
    const { demo } = await fullChat({ viewport: { width, height: 700 } });
    const { page } = demo;
    const overflow = () =>
      page.evaluate(() => {
        const { documentElement: root } = document;
        return [root.scrollWidth - innerWidth, root.scrollHeight - innerHeight];
      });
    expect(await overflow()).toEqual([0, 0]);
    await page.locator('#reading').hover();
    await page.mouse.wheel(0, -10_000);
    await page.mouse.wheel(0, 20_000);
    await page.keyboard.press('End');
    expect(await page.evaluate(() => scrollY)).toBe(0);
    const heading = await page.locator('#title').boundingBox();
    expect(heading!.y).toBeGreaterThanOrEqual(0);
    const composer = await page.locator('#composer').boundingBox();
    expect(composer!.y + composer!.height).toBeLessThanOrEqual(700);
    // No control of the page is outside of the window or wider than its place.
    const outside = await page.evaluate(() =>
      [...document.querySelectorAll('main button, main a, main textarea, main h1')]
        .filter((element) => element.checkVisibility())
        .map((element) => ({ element, box: element.getBoundingClientRect() }))
        .filter(({ box }) => box.left < 0 || box.right > innerWidth)
        .map(({ element }) => element.outerHTML),
    );
    expect(outside).toEqual([]);
  });
});

describe('the page', () => {
  it('is used from a question to its versions by keyboard alone, in the order of the screen', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    const { page } = demo;
    const focused = () =>
      page.evaluate(() => {
        const { id, dataset, textContent } = document.activeElement as HTMLElement;
        return id || dataset['testid'] || textContent?.trim();
      });
    // A visitor with a keyboard begins in the field.
    expect(await focused()).toBe('question');
    await page.keyboard.type('What is a delta?');
    await page.keyboard.press('Enter');
    say(await nextCall(), 'Where a river ends.');
    await demo.reaches('done');
    const back: (string | undefined)[] = [];
    for (let i = 0; i < 5; i++) {
      await page.keyboard.press('Shift+Tab');
      back.push(await focused());
    }
    expect(back).toEqual(['regenerate', 'copy', 'edit', 'copy', 'reading']);
    for (let i = 0; i < 4; i++) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    say(await nextCall(), 'A second version.');
    await demo.shows('A second version.');
    // The button is gone while the answer runs, so the focus is on the answer, and its controls come next.
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('version-before');
    await page.keyboard.press('Enter');
    await demo.shows('Where a river ends.');
  });

  it('has a link past the list of chats, which leaves the chat open, as one in an answer does', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    await demo.ask('What is a delta?');
    say(await nextCall(), 'See [the end](#end).');
    await demo.reaches('done');
    const url = demo.page.url();
    await demo.page.locator('#skip').focus();
    await demo.page.keyboard.press('Enter');
    expect(await demo.page.evaluate(() => document.activeElement?.id)).toBe('question');
    await expect.poll(() => demo.page.url()).toBe(url);
    await demo.page.getByRole('link', { name: 'the end' }).click();
    await expect.poll(() => demo.page.url()).toBe(url);
    await demo.shows('See the end.');
  });

  it('is light, dark or as the system, and is so before it is drawn again', async () => {
    const { demo } = await stagedDemo(browser, { colorScheme: 'light' });
    const background = () =>
      demo.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await background();
    await demo.page.getByRole('radio', { name: 'Dark' }).check();
    const dark = await background();
    expect(dark).not.toBe(light);
    await demo.page.reload();
    expect(await background()).toBe(dark);
    await demo.page.getByRole('radio', { name: 'Dark' }).focus();
    await demo.page.keyboard.press('ArrowLeft');
    expect(await background()).toBe(light);
    await demo.page.emulateMedia({ colorScheme: 'dark' });
    expect(await background()).toBe(light);
    await demo.page.getByRole('radio', { name: 'System' }).check();
    expect(await background()).toBe(dark);
    await demo.page.reload();
    expect(await background()).toBe(dark);
  });

  it('moves nothing for who wants less motion', async () => {
    const { demo, nextCall } = await stagedDemo(browser, { reducedMotion: 'reduce' });
    await demo.ask('What is a delta?');
    (await nextCall()).say('Where a ');
    await demo.shows('Where a');
    const moving = await demo.page.evaluate(() => document.getAnimations().length);
    expect(moving).toBe(0);
  });
});
