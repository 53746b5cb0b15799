import { createServer, type RequestListener } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProviderError, questionOf } from '@rivulet/server';
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPages } from '../../demo/pages.js';
import { ChatPage, shows } from '../harness/chat-page.js';
import { type Child, startChild } from '../harness/child.js';
import { launchChromium } from '../harness/chromium.js';
import { cuttableLink } from '../harness/link.js';
import { startServer } from '../harness/rivulet.js';
import { serveFolder } from '../harness/serve-folder.js';
import { type Call, stage } from '../harness/stage.js';

const FRAMEWORKS = ['react', 'vue', 'svelte', 'angular', 'solid'];

let browser: Browser;
let folder: string;
let page: RequestListener;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rivulet-pages-'));
  // Vitest's NODE_ENV is `test`, so React is built for development, and its StrictMode mounts twice.
  [browser] = await Promise.all([launchChromium(), buildPages(join(folder, 'built'))]);
  page = serveFolder(join(folder, 'built'));
});
afterAll(async () => {
  await browser.close();
  await rm(folder, { recursive: true });
});

async function staged(options: Parameters<typeof startServer>[1] = {}) {
  const played = stage();
  const server = await startServer(played.provider, { page, ...options });
  return { server, ...played };
}

function answer(call: Call, text: string): void {
  call.say(text);
  call.finish();
}

describe.each(FRAMEWORKS)('a chat in %s', (name) => {
  it('asks with its history, stops, continues, edits, generates again, and shows each version', async () => {
    const { server, calls, nextCall } = await staged();
    const chat = await ChatPage.open(browser, server.url, name);
    await chat.ask('What is a delta?');
    answer(await nextCall(), 'Where a river ends.');
    await shows(chat, ['sent: What is a delta?', 'complete: Where a river ends.']);
    expect(await chat.input.inputValue()).toBe('');

    await chat.ask('And a mouth?');
    const second = await nextCall();
    expect(second.prompt.messages).toMatchObject([
      { role: 'user', text: 'What is a delta?' },
      { role: 'assistant', text: 'Where a river ends.' },
      { role: 'user', text: 'And a mouth?' },
    ]);
    second.say('Also ');
    await shows(chat, [/delta/, /ends/, 'sent: And a mouth?', 'streaming: Also ']);
    await chat.press('Stop');
    await second.aborted;
    await shows(chat, [/delta/, /ends/, 'sent: And a mouth?', 'stopped: Also ']);

    await chat.press('Continue', chat.message(-1));
    const rest = await nextCall();
    expect(rest.prompt.continues).toBe(true);
    expect(rest.prompt.messages.at(-1)).toEqual({ role: 'assistant', text: 'Also ' });
    answer(rest, 'where it ends.');
    await shows(chat, [/delta/, /ends/, /mouth/, 'complete: Also where it ends.']);

    await chat.press('Regenerate', chat.message(-1));
    answer(await nextCall(), 'The same.');
    await shows(chat, [/delta/, /ends/, /mouth/, 'complete: The same.']);
    await chat.press('Previous', chat.message(-1));
    await shows(chat, [/delta/, /ends/, /mouth/, 'complete: Also where it ends.']);
    await chat.press('Next', chat.message(-1));
    await shows(chat, [/delta/, /ends/, /mouth/, 'complete: The same.']);

    await chat.edit(0, 'What is an estuary?');
    const third = await nextCall();
    expect(third.prompt.messages).toMatchObject([{ text: 'What is an estuary?' }]);
    answer(third, 'A wide mouth.');
    await shows(chat, ['sent: What is an estuary?', 'complete: A wide mouth.']);
    await chat.press('Previous', chat.message(0));
    await shows(chat, [/delta/, /ends/, /mouth/, 'complete: The same.']);
    expect(calls).toHaveLength(5);
    expect(chat.complaints).toEqual([]);
  });

  it('shows a failure with a countdown, and asks again; types a draft, and asks after it was offline what waited', async () => {
    const { server, calls, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const chat = await ChatPage.open(browser, link.url, name);
    await chat.ask('What is a delta?');
    const first = await nextCall();
    first.say('Where a ');
    first.fail(new ProviderError('busy', 'unable to go on: busy', { retryAfterMs: 40_000 }));
    await shows(chat, ['sent: What is a delta?', 'failed: Where a ']);
    expect(await chat.alert(-1).textContent()).toContain('busy');
    await chat
      .message(-1)
      .getByText(/in \d+ s/)
      .waitFor();
    await chat.press('Retry', chat.message(-1));
    answer(await nextCall(), 'Where a river ends.');
    await shows(chat, ['sent: What is a delta?', 'complete: Where a river ends.']);
    await chat
      .message(-1)
      .getByText(/in \d+ s/)
      .waitFor({ state: 'hidden' });

    // The caret stays where it is.
    await chat.input.pressSequentially('And mouth?');
    await chat.input.evaluate((input: HTMLInputElement) => input.setSelectionRange(4, 4));
    await chat.input.pressSequentially('a ');
    expect(await chat.input.inputValue()).toBe('And a mouth?');
    await chat.page.context().setOffline(true);
    link.down();
    await expect.poll(() => chat.isConnected()).toBe(false);
    await chat.press('Ask');
    await chat.ask('And a spring?');
    const queued = ['queued: And a mouth?', 'queued: And a spring?'];
    await shows(chat, [/delta/, /ends/, ...queued]);
    expect(await chat.input.inputValue()).toBe('');
    expect(calls).toHaveLength(2);
    link.up();
    await chat.page.context().setOffline(false);
    for (const question of ['And a mouth?', 'And a spring?']) {
      const call = await nextCall();
      expect(questionOf(call.prompt)).toBe(question);
      answer(call, `A ${question}`);
    }
    await shows(chat, [
      /delta/,
      /ends/,
      'sent: And a mouth?',
      'complete: A And a mouth?',
      'sent: And a spring?',
      'complete: A And a spring?',
    ]);
    expect(calls).toHaveLength(4);
    expect(chat.complaints).toEqual([]);
  });

  it('goes on after a reload and in a second tab, and either tab stops', async () => {
    const { server, calls, nextCall } = await staged();
    const first = await ChatPage.open(browser, server.url, name);
    await first.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a ');
    await shows(first, ['sent: What is a delta?', 'streaming: Where a ']);
    const sampled = await first.sampleFrames();
    await first.page.reload();
    call.say('river ');
    await shows(first, ['sent: What is a delta?', 'streaming: Where a river ']);
    expect(await sampled()).toEqual(['Where a ', 'Where a river ']);

    const second = await ChatPage.openTab(first.page.context(), server.url, name);
    await shows(second, ['sent: What is a delta?', 'streaming: Where a river ']);
    call.say('ends');
    for (const tab of [first, second]) await shows(tab, [/delta/, 'streaming: Where a river ends']);
    await second.press('Stop');
    await call.aborted;
    for (const tab of [first, second]) await shows(tab, [/delta/, 'stopped: Where a river ends']);
    expect(calls).toHaveLength(1);

    await second.ask('And a mouth?');
    const next = await nextCall();
    next.say('Also ');
    for (const tab of [first, second]) await shows(tab, [/delta/, /ends/, /mouth/, /Also/]);
    await first.press('Stop');
    await next.aborted;
    for (const tab of [first, second]) {
      await shows(tab, [/delta/, /ends/, 'sent: And a mouth?', 'stopped: Also ']);
      expect(tab.complaints).toEqual([]);
    }
    expect(calls).toHaveLength(2);
  });

  it('shows no hole while the connection is cut for 3 s', async () => {
    const { server, calls, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const chat = await ChatPage.open(browser, link.url, name);
    await chat.ask('What is a delta?');
    const call = await nextCall();
    const words = Array.from({ length: 40 }, (_, i) => `word${i} `);
    const sampled = await chat.sampleFrames();
    for (const [i, word] of words.entries()) {
      call.say(word);
      if (i === 5) link.down();
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (i === 35) link.up();
    }
    call.finish();
    await shows(chat, [/delta/, `complete: ${words.join('')}`]);
    const texts = await sampled();
    expect(texts.length).toBeGreaterThan(3);
    for (const [i, text] of texts.entries()) {
      expect(words.join('').startsWith(text)).toBe(true);
      expect(text.length).toBeGreaterThanOrEqual(texts[i - 1]?.length ?? 0);
    }
    expect(calls).toHaveLength(1);
    expect(chat.complaints).toEqual([]);
  });

  it('loses nothing when it is unmounted and mounted again; only the message that grows is rendered', async () => {
    const { server, calls, nextCall } = await staged({ limits: { detachTimeoutMs: 0 } });
    const chat = await ChatPage.open(browser, server.url, name, { countsReads: true });
    for (let i = 0; i < 9; i += 1) {
      await chat.ask(`q${i}`);
      answer(await nextCall(), `A ${i}`);
      await chat.page.locator('[data-status=complete]').nth(i).waitFor();
    }
    await chat.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where');
    await chat.text(19).filter({ hasText: 'Where' }).waitFor();
    await chat.resetReads();
    for (const word of [' a', ' river', ' ends']) {
      call.say(word);
      await chat.text(19).filter({ hasText: word }).waitFor();
    }
    expect(await chat.reads()).toEqual([expect.stringContaining('Where a')]);

    await chat.press('Close');
    call.say('.');
    await chat.press('Open');
    await chat.text(19).filter({ hasText: 'Where a river ends.' }).waitFor();
    call.finish();
    await chat.page.locator('[data-status=complete]').nth(9).waitFor();
    expect(await chat.messages()).toHaveLength(20);
    expect(calls).toHaveLength(10);
    expect(chat.complaints).toEqual([]);
  });
});

describe('a chat whose server is killed in the middle of an answer', () => {
  const http = createServer((request, response) => page(request, response));
  let running: { child: Child; url: string };

  async function startHanging(): Promise<typeof running> {
    const { port } = http.address() as { port: number };
    const child = await startChild(
      process.execPath,
      ['--conditions=@rivulet/source', '--import', 'tsx', 'test/fakes/hanging-server.ts'],
      { env: { PAGES: `http://127.0.0.1:${port}` }, ready: /hanging at (\S+)/ },
    );
    return { child, url: child.match[1]! };
  }

  beforeAll(async () => {
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    running = await startHanging();
  });
  afterAll(async () => {
    await running.child.stop();
    http.close();
  });

  it.each(FRAMEWORKS)(
    'shows in %s what there is, and that it was interrupted, after a reload',
    async (name) => {
      const link = await cuttableLink(running.url);
      const chat = await ChatPage.open(browser, link.url, name);
      await chat.ask('What is a delta?');
      await shows(chat, ['sent: What is a delta?', 'streaming: Where a river ']);
      await running.child.stop('SIGKILL');
      running = await startHanging();
      link.leadTo(running.url);
      await chat.page.reload();
      await shows(chat, ['sent: What is a delta?', 'interrupted: Where a river ']);
      expect(await chat.alert(-1).textContent()).not.toBe('');
      expect(await chat.message(-1).getByRole('button', { name: 'Continue' }).isVisible()).toBe(
        true,
      );
      expect(chat.complaints).toEqual([]);
    },
  );
});
