import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { type DemoPage, stagedDemo, type StagedDemo } from '../harness/demo.js';
import { answer as say } from '../harness/tools.js';

let browser: Browser;
beforeAll(async () => void (browser = await launchChromium()));
afterAll(() => browser.close());

const chats = (demo: DemoPage) => demo.page.getByTestId('chat');
const titles = (demo: DemoPage) => demo.page.locator('.chat-title').allTextContents();

/** Asks in the open chat, and waits for the whole answer. */
async function converse({ demo, nextCall }: StagedDemo, question: string, text: string) {
  await demo.ask(question);
  say(await nextCall(), text);
  await demo.reaches('done');
  await demo.shows(text);
}

/** Two chats, of which the second is open. */
async function twoChats(options?: Parameters<typeof stagedDemo>[1]): Promise<StagedDemo> {
  const staged = await stagedDemo(browser, options);
  await converse(staged, 'What is a delta?', 'Where a river ends.');
  await staged.demo.newChat();
  await converse(staged, 'What is an estuary?', 'A drowned valley.');
  await expect.poll(() => titles(staged.demo)).toEqual(['What is an estuary?', 'What is a delta?']);
  return staged;
}

describe('the chats of a visitor', () => {
  it('have links of their own, and are there after a reload, in a second tab and by going back', async () => {
    const { demo, url } = await twoChats();
    expect(demo.page.url()).toMatch(/#\/chat\/[\w-]+$/);
    await demo.page.reload();
    await demo.reaches('done');
    await demo.shows('A drowned valley.');
    expect(await demo.page.title()).toBe('What is an estuary? · Rivulet');

    const second = await demo.secondTab();
    await second.shows('A drowned valley.');
    await second.page.getByRole('link', { name: 'What is a delta?' }).click();
    await second.shows('Where a river ends.');
    await second.page.goBack();
    await second.shows('A drowned valley.');
    expect(second.starts()).toBe(0);
    // A link that names no chat opens a new one.
    await second.page.goto(`${url}/#/chat/no such chat`);
    await second.page.locator('#welcome').waitFor();
    expect(second.page.url()).toMatch(/#\/chat\/[\w-]+$/);
    expect(demo.complaints).toEqual([]);
  });

  it('are live in a second tab, and stop for both', async () => {
    const { demo, nextCall } = await stagedDemo(browser);
    const second = await demo.secondTab();
    await demo.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a ');
    await second.shows('Where a');
    expect(await second.question.textContent()).toContain('What is a delta?');
    call.say('river ends.');
    await second.shows('Where a river ends.');
    await second.stop();
    await call.aborted;
    await demo.reaches('cancelled');
    await demo.shows('Where a river ends.');
    expect(await titles(second)).toEqual(['What is a delta?']);
  });

  it('show in the sidebar which one is open and which one is being answered', async () => {
    const staged = await twoChats();
    const { demo, nextCall } = staged;
    await demo.newChat();
    await demo.ask('What is a river?');
    const call = await nextCall();
    call.say('Water');
    const first = chats(demo).first();
    await expect.poll(() => first.locator('.chat-answering').isVisible()).toBe(true);
    await demo.page.getByRole('link', { name: 'What is a delta?' }).click();
    await demo.shows('Where a river ends.');
    expect(await chats(demo).nth(2).getByRole('link').getAttribute('aria-current')).toBe('page');
    expect(await first.locator('.chat-answering').isVisible()).toBe(true);
    say(call, ' that flows.');
    await expect.poll(() => first.locator('.chat-answering').isVisible()).toBe(false);
    await first.getByRole('link').click();
    await demo.shows('Water that flows.');
  });

  it('are renamed by keyboard, and Escape leaves the title', async () => {
    const { demo } = await twoChats();
    const rename = demo.page.getByRole('button', { name: 'Rename What is a delta?' });
    await rename.focus();
    await rename.press('Enter');
    await demo.page.keyboard.type('Rivers');
    await demo.page.keyboard.press('Escape');
    expect(await titles(demo)).toContain('What is a delta?');
    await demo.page.keyboard.press('Enter');
    await demo.page.keyboard.type('Rivers');
    await demo.page.keyboard.press('Enter');
    await expect.poll(() => titles(demo)).toEqual(['What is an estuary?', 'Rivers']);
    await demo.hasStored('Rivers');
    await demo.page.reload();
    await expect.poll(() => titles(demo)).toEqual(['What is an estuary?', 'Rivers']);
  });

  it('are deleted at once in every tab, and come back whole with Undo', async () => {
    const { demo } = await twoChats();
    const second = await demo.secondTab();
    await demo.page.getByRole('button', { name: 'Delete What is an estuary?' }).focus();
    await demo.page.keyboard.press('Enter');
    await expect.poll(() => titles(second)).toEqual(['What is a delta?']);
    // The open chat is gone, so a new one is open; the focus is on the chat after the deleted one.
    await demo.page.locator('#welcome').waitFor();
    await demo.page.getByRole('button', { name: 'Undo' }).click();
    await demo.shows('A drowned valley.');
    await expect
      .poll(() => titles(second))
      .toEqual(expect.arrayContaining(['What is a delta?', 'What is an estuary?']));
    await demo.page.reload();
    await demo.shows('A drowned valley.');
    expect(await demo.question.textContent()).toContain('What is an estuary?');
    expect(demo.complaints).toEqual([]);
  });

  it('are found by title and text, with a preview of the place', async () => {
    const { demo } = await twoChats();
    const search = demo.page.getByRole('searchbox', { name: 'Search the chats' });
    await search.fill('RIVER ENDS');
    await expect.poll(() => titles(demo)).toEqual(['What is a delta?']);
    expect(await demo.page.locator('.chat-preview').textContent()).toBe('Where a river ends.');
    expect(await demo.page.locator('.chat-preview mark').textContent()).toBe('river ends');
    await search.fill('glacier');
    await demo.page.getByText('Nothing found.').waitFor();
    await search.press('Escape');
    await expect.poll(() => chats(demo).count()).toBe(2);
    expect(await search.inputValue()).toBe('');
  });
});

describe('on a phone the chats', () => {
  it('are in a drawer, which Escape, a chosen chat and its backdrop close', async () => {
    const { demo } = await stagedDemo(browser, { viewport: { width: 390, height: 844 } });
    const { page } = demo;
    const open = page.getByRole('button', { name: 'Open the list of chats' });
    const sidebar = page.locator('#sidebar');
    expect(await sidebar.isVisible()).toBe(false);
    await open.click();
    await expect.poll(() => sidebar.isVisible()).toBe(true);
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe('close-sidebar');
    // The page below the drawer cannot be reached.
    expect(await page.locator('#page').evaluate((element) => (element as HTMLElement).inert)).toBe(
      true,
    );
    await page.keyboard.press('Escape');
    await expect.poll(() => sidebar.isVisible()).toBe(false);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('open-sidebar');
    await open.click();
    await page.locator('#backdrop').click({ position: { x: 380, y: 400 } });
    await expect.poll(() => sidebar.isVisible()).toBe(false);
    await open.click();
    await page.getByRole('button', { name: 'New chat' }).click();
    await expect.poll(() => sidebar.isVisible()).toBe(false);
  });
});
