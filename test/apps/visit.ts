import assert from 'node:assert/strict';
import type { Browser, Page } from 'playwright';

const ANSWER = 'Where a river ends.';

/** The observations of a page, from its first script on. */
interface Noted {
  /** Each text of the answer, once. */
  texts: string[];
  firstTextMs: number;
  /** True if the button that the server rendered is still in the page, because hydration took it over. */
  keptButton: boolean;
}

/**
 * Opens an app's page, asks its question, and asks it again after a reload.
 *
 * @returns the milliseconds from the click to the first text.
 * @throws {AssertionError} if the text did not stream, the second answer was not from the cache, or the page
 *   reported an error or a warning.
 */
export async function visit(
  browser: Browser,
  pageUrl: string,
  serverUrl: string,
  rendersOnServer: boolean,
): Promise<number> {
  if (rendersOnServer) {
    const html = await (await fetch(pageUrl)).text();
    assert.match(html, />\s*Ask\s*</, 'the server rendered no button');
  }
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const complaints = complaintsOf(page);
    const sent: string[] = [];
    page.on('request', (request) => {
      if (request.url().startsWith(serverUrl)) sent.push(request.url());
    });
    page.on('websocket', (socket) => sent.push(socket.url()));
    await page.addInitScript(noteTexts);

    await page.goto(pageUrl, { waitUntil: 'networkidle' });
    assert.deepEqual(sent, [], 'the page connected before a question');
    const first = await ask(page);
    assert.ok(first.texts.length > 1, `the text did not stream: ${JSON.stringify(first.texts)}`);
    assert.notEqual(sent.length, 0);
    if (rendersOnServer) assert.ok(first.keptButton, 'hydration replaced what the server rendered');

    await page.reload({ waitUntil: 'networkidle' });
    sent.length = 0;
    await ask(page);
    assert.deepEqual(sent, [], 'the answer was not from the cache');
    assert.deepEqual(complaints, []);
    return first.firstTextMs;
  } finally {
    await context.close();
  }
}

/** @returns a list that gets each uncaught error, and each error and warning of the console. */
function complaintsOf(page: Page): string[] {
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  return complaints;
}

async function ask(page: Page): Promise<Noted> {
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.getByText(ANSWER, { exact: true }).waitFor();
  return page.evaluate(() => Reflect.get(window, 'noted')() as Noted);
}

/** Runs in the page. */
function noteTexts(): void {
  const texts: string[] = [];
  let [firstButton, clickedAt, firstTextMs]: [Element | null, number, number] = [null, 0, 0];
  addEventListener('click', () => (clickedAt = performance.now()), { capture: true });
  new MutationObserver(() => {
    firstButton ??= document.querySelector('button');
    const text = document.querySelector('p')?.textContent ?? '';
    if (text === '' || texts.includes(text)) return;
    if (texts.length === 0) firstTextMs = performance.now() - clickedAt;
    texts.push(text);
  }).observe(document, { childList: true, subtree: true, characterData: true });
  Reflect.set(window, 'noted', () => ({
    texts,
    firstTextMs,
    keptButton: firstButton?.isConnected === true,
  }));
}
