import type { ServerOptions } from '@rivulet/server';
import type { Browser, BrowserContext, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { createClientIn, openTab, sdkPage, stagedBrowser, stored } from '../harness/sdk-page.js';
import { answer as say, resultsTold } from '../harness/tools.js';

declare global {
  var onRun: () => Promise<void>;
  var give: (result: unknown) => void;
}

let browser: Browser;
let page: NonNullable<ServerOptions['page']>;
beforeAll(async () => {
  [browser, page] = await Promise.all([launchChromium(), sdkPage()]);
});
afterAll(() => browser.close());

const staged = () => stagedBrowser(browser, { page, env: { LLM_CACHE_ENABLED: 'false' } });

/** A tab that has the chat `c` open, as `globalThis.chat`. */
async function openChat(context: BrowserContext, url: string): Promise<Page> {
  const tab = await openTab(context, url);
  await openChatIn(tab);
  return tab;
}

const openChatIn = (tab: Page): Promise<void> =>
  tab.evaluate(() => {
    globalThis.chat = chats.createChat(client, { id: 'c' });
    chat.state$.subscribe();
  });

const send = (tab: Page, text: string): Promise<void> =>
  tab.evaluate((question) => void chat.send(question), text);

/** The texts of the messages that the tab shows, each with its state in parentheses unless it is complete. */
const shown = (tab: Page): Promise<string[]> =>
  tab.evaluate(() =>
    chat.getSnapshot().messages.map((message) => {
      if (message.role === 'user') {
        return message.status === 'queued' ? `${message.text} (queued)` : message.text;
      }
      return message.ending === 'complete' ? message.text : `${message.text} (${message.ending})`;
    }),
  );

/** The number of locks of tool calls, in all tabs. */
const toolLocks = (tab: Page): Promise<{ held: number; pending: number }> =>
  tab.evaluate(async () => {
    const { held = [], pending = [] } = await navigator.locks.query();
    const isOfTool = ({ name = '' }: LockInfo): boolean => name.startsWith('rivulet:tool:');
    return { held: held.filter(isOfTool).length, pending: pending.filter(isOfTool).length };
  });

describe('a chat in two tabs', () => {
  it('has what one tab queued asked by the other when that one is closed, once', async () => {
    const { server, context, nextCall, calls } = await staged();
    const first = await openChat(context, server.url);
    const second = await openChat(context, server.url);
    await send(first, 'one');
    const call = await nextCall();
    call.say('A');
    await send(first, 'two');
    await expect.poll(() => shown(second)).toEqual(['one', 'A (undefined)', 'two (queued)']);
    say(call, ' one');
    // The first tab asks its own question as soon as it may.
    const next = await nextCall();
    await send(first, 'three');
    await expect.poll(() => shown(second)).toHaveLength(5);
    await first.close();
    say(next, 'A two');
    say(await nextCall(), 'A three');
    await expect
      .poll(() => shown(second))
      .toEqual(['one', 'A one', 'two', 'A two', 'three', 'A three']);
    expect(calls).toHaveLength(3);
  });

  it('is empty in both once the user has logged out, and nothing is left on the disk', async () => {
    const { server, context, nextCall } = await staged();
    const first = await openChat(context, server.url);
    const second = await openChat(context, server.url);
    await send(first, 'secret');
    say(await nextCall(), 'A secret');
    await expect.poll(() => shown(second)).toEqual(['secret', 'A secret']);
    await expect.poll(() => stored(second, 'n')).toHaveLength(2);
    await second.evaluate(() => client.cache.clear());
    await expect.poll(() => shown(first)).toEqual([]);
    await expect.poll(() => shown(second)).toEqual([]);
    expect(await stored(second, 'n')).toEqual([]);
    await send(first, 'two');
    say(await nextCall(), 'A two');
    await expect.poll(() => shown(second)).toEqual(['two', 'A two']);
    expect(JSON.stringify(await stored(first, 'n'))).not.toContain('secret');
  });
});

describe('a tool of the page in two tabs that show its chat', () => {
  /** Two tabs, of which one runs a call of `place`; `running` has a tab for each run. */
  async function called() {
    const { server, context, nextCall } = await staged();
    const running: Page[] = [];
    const openWithTool = async (): Promise<Page> => {
      const tab = await openTab(context, server.url);
      await tab.exposeFunction('onRun', () => void running.push(tab));
      await tab.evaluate(() => {
        const execute = async (): Promise<unknown> => {
          await onRun();
          return new Promise((resolve) => (globalThis.give = resolve));
        };
        const parameters = { jsonSchema: { type: 'object' } };
        const tool = { name: 'place', description: 'Says where.', parameters, execute };
        globalThis.chat = chats.createChat(client, { id: 'c', tools: [tool] });
        chat.state$.subscribe();
      });
      return tab;
    };
    const tabs = [await openWithTool(), await openWithTool()] as const;
    await send(tabs[0], 'Where?');
    const call = await nextCall();
    call.callTool('place', {});
    call.finish();
    await expect.poll(() => running.length).toBe(1);
    const other = tabs.find((tab) => tab !== running[0])!;
    // The other tab waits for the lock.
    await expect.poll(() => toolLocks(other)).toEqual({ held: 1, pending: 1 });
    return { running, nextCall, other };
  }

  it('runs in one of them', async () => {
    const { running, nextCall, other } = await called();
    await running[0]!.evaluate(() => give('here'));
    const next = await nextCall();
    expect(resultsTold(next)).toMatchObject([{ result: 'here' }]);
    await expect.poll(() => toolLocks(other)).toEqual({ held: 0, pending: 0 });
    say(next, 'Here.');
    await expect.poll(() => shown(other)).toEqual(['Where?', 'Here.']);
    expect(running).toHaveLength(1);
  });

  it('runs in the other once the first is closed in the middle of the call', async () => {
    const { running, nextCall, other } = await called();
    await running[0]!.close();
    await expect.poll(() => running.length).toBe(2);
    expect(running[1]).toBe(other);
    await other.evaluate(() => give('there'));
    const next = await nextCall();
    expect(resultsTold(next)).toMatchObject([{ result: 'there' }]);
    say(next, 'There.');
    await expect.poll(() => shown(other)).toEqual(['Where?', 'There.']);
  });
});

describe('a chat in a browser', () => {
  it('keeps its draft and its messages through a crash of the tab', async () => {
    const { server, context, nextCall, calls } = await staged();
    const tab = await openChat(context, server.url);
    await send(tab, 'one');
    const call = await nextCall();
    call.say('Half');
    await expect.poll(() => shown(tab)).toEqual(['one', 'Half (undefined)']);
    await tab.evaluate(() => chat.setDraft('tw'));
    await expect.poll(() => stored(tab, 'c')).toMatchObject([[expect.anything(), { draft: 'tw' }]]);
    await tab.goto('chrome://crash').catch(() => {});
    const next = await openChat(context, server.url);
    await expect.poll(() => shown(next)).toEqual(['one', 'Half (undefined)']);
    expect(await next.evaluate(() => chat.getSnapshot().draft)).toBe('tw');
    say(call, ' and whole');
    await expect.poll(() => shown(next)).toEqual(['one', 'Half and whole']);
    expect(calls).toHaveLength(1);
  });

  it('keeps what it has with IndexedDB as with any store', async () => {
    const { server, context } = await staged();
    const tab = await openTab(context, server.url);
    const failures = await tab.evaluate(async () => {
      const store = chats.createChatStore(client);
      const failed: string[] = [];
      for (const { name, run } of chatStoreTests(() => store)) {
        await run().catch((error: unknown) => failed.push(`${name}: ${String(error)}`));
      }
      return failed;
    });
    expect(failures).toEqual([]);
  });

  it('goes on in memory where IndexedDB fails, and says so', async () => {
    const { server, context, nextCall } = await staged();
    const tab = await context.newPage();
    await tab.addInitScript(() => {
      IDBObjectStore.prototype.put = () => {
        throw new DOMException('The disk is full', 'QuotaExceededError');
      };
    });
    await tab.goto(server.url);
    await createClientIn(tab);
    await openChatIn(tab);
    await send(tab, 'one');
    say(await nextCall(), 'A one');
    await expect.poll(() => shown(tab)).toEqual(['one', 'A one']);
    const failure = (): Promise<string> =>
      tab.evaluate(() => String(chat.getSnapshot().storeError));
    await expect.poll(failure).not.toBe('undefined');
    await send(tab, 'two');
    say(await nextCall(), 'A two');
    await expect.poll(() => shown(tab)).toEqual(['one', 'A one', 'two', 'A two']);
  });
});
