import type { ServerOptions } from '@rivulet/server';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { startServer } from '../harness/rivulet.js';
import {
  ask,
  createClientIn,
  openTab,
  resume,
  sdkPage,
  shown,
  stagedBrowser,
  type StagedOptions,
  stored,
} from '../harness/sdk-page.js';
import { stage } from '../harness/stage.js';
import { answer as say, held } from '../harness/tools.js';

let browser: Browser;
let page: NonNullable<ServerOptions['page']>;
beforeAll(async () => {
  [browser, page] = await Promise.all([launchChromium(), sdkPage()]);
});
afterAll(() => browser.close());

const staged = (options?: StagedOptions) => stagedBrowser(browser, { page, ...options });

async function reload(tab: Page): Promise<void> {
  await tab.reload();
  await createClientIn(tab);
}

/** Waits until the journal has the text. */
async function journalled(tab: Page, text: string): Promise<void> {
  await expect
    .poll(async () => (await stored(tab, 'j')).map(([, entry]) => entry))
    .toMatchObject([{ received: { text } }]);
}

describe('a page that is reloaded in the middle of an answer', () => {
  it('shows at once what it had, without a connection, and goes on with one', async () => {
    const { server, context, calls, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await shown(tab, { text: 'Where a ' });
    call.say('river ');
    await shown(tab, { text: 'Where a river ' });
    // Less than half a second after the text before it was journalled.
    await tab.reload();
    await context.setOffline(true);
    await createClientIn(tab);
    expect(await resume(tab)).toBe('What is a delta?');
    expect(await shown(tab, { text: 'Where a river ' })).toMatchObject({
      query: 'What is a delta?',
      status: 'reconnecting',
      source: 'model',
      provider: 'stage',
      attempt: 1,
    });
    call.say('ends');
    await context.setOffline(false);
    await shown(tab, { text: 'Where a river ends', status: 'streaming' });
    call.say('.');
    call.finish();
    const done = await shown(tab, { status: 'done' });
    expect(done.text).toBe('Where a river ends.');
    expect(done.timing!.totalMs).toBeGreaterThan(done.timing!.firstChunkMs!);
    expect(calls).toHaveLength(1);
    // The answer is kept as any other, and under way no more.
    await expect.poll(() => stored(tab, 'b')).toHaveLength(1);
    expect(await stored(tab, 'j')).toEqual([]);
  });

  it('asks the server only for what is missing', async () => {
    const { server, context, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await journalled(tab, 'Where a ');
    const sent: string[] = [];
    tab.on('websocket', (socket) =>
      socket.on('framesent', ({ payload }) => void sent.push(String(payload))),
    );
    await reload(tab);
    await resume(tab);
    await shown(tab, { status: 'streaming' });
    const opens = sent.filter((frame) => /stream_(resume|start)/.test(frame));
    expect(opens).toHaveLength(1);
    expect(opens[0]).toMatch(/"offset":9\b/);
    // By the epoch, the server can tell whether the text is from the log that it has.
    expect(opens[0]).toMatch(/"epoch":"[-\w]+"/);
  });

  it('has the tools, too', async () => {
    const height = held('height');
    const { server, context, nextCall } = await staged({ tools: [height.tool] });
    const tab = await openTab(context, server.url);
    await ask(tab);
    const call = await nextCall();
    call.say('Let me look.');
    call.callTool('height', { of: 'it' });
    call.finish();
    await expect.poll(() => height.runs.length).toBe(1);
    await expect
      .poll(async () => (await stored(tab, 'j')).map(([, entry]) => entry))
      .toMatchObject([{ received: { toolEntries: [{ event: { name: 'height' } }] } }]);
    await tab.reload();
    await context.setOffline(true);
    await createClientIn(tab);
    await resume(tab);
    const early = await shown(tab, { text: 'Let me look.' });
    const use = { name: 'height', arguments: { of: 'it' }, textBefore: 12 };
    expect(early.tools).toMatchObject([{ ...use, status: 'running' }]);
    const isFrozen = (): boolean => Object.isFrozen(answer.getSnapshot().tools[0]);
    expect(await tab.evaluate(isFrozen)).toBe(true);
    await context.setOffline(false);
    height.runs[0]!.give(9);
    say(await nextCall(), 'It is 9 m.');
    const done = await shown(tab, { status: 'done' });
    expect(done.text).toBe('Let me look.\n\nIt is 9 m.');
    expect(done.tools).toMatchObject([{ ...use, status: 'done', result: 9 }]);
    expect(height.runs).toHaveLength(1);
  });

  it('gets the whole of an answer that ended meanwhile', async () => {
    const { server, context, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    await ask(tab);
    const call = await nextCall();
    call.say('Where a ');
    await journalled(tab, 'Where a ');
    await tab.goto('about:blank');
    say(call, 'river ends.');
    await tab.goto(server.url);
    await createClientIn(tab);
    await resume(tab);
    expect((await shown(tab, { status: 'done' })).text).toBe('Where a river ends.');
    expect(await tab.evaluate(() => client.resume(answer.id) === answer)).toBe(false);
  });

  it('keeps the text of an answer that the server has forgotten, and says that it is lost', async () => {
    const { server, context, nextCall } = await staged();
    const tab = await openTab(context, server.url);
    await ask(tab);
    (await nextCall()).say('Where a ');
    await journalled(tab, 'Where a ');
    await tab.goto('about:blank');
    const port = Number(new URL(server.url).port);
    await server.close();
    await startServer(stage().provider, { page, port });
    await tab.goto(server.url);
    await createClientIn(tab);
    await resume(tab);
    expect(await shown(tab, { status: 'failed' })).toMatchObject({
      text: 'Where a ',
      code: 'interrupted',
    });
    await expect.poll(() => stored(tab, 'j')).toEqual([]);
  });
});

describe('a tab that is closed in the middle of an answer', () => {
  it('goes on where it was when it is opened again', async () => {
    const { server, context, calls, nextCall } = await staged();
    const first = await openTab(context, server.url);
    await ask(first);
    const call = await nextCall();
    call.say('Where a ');
    await journalled(first, 'Where a ');
    await first.close();
    call.say('river ');
    const second = await openTab(context, server.url);
    await resume(second);
    await shown(second, { text: 'Where a river ' });
    say(call, 'ends.');
    expect((await shown(second, { status: 'done' })).text).toBe('Where a river ends.');
    expect(calls).toHaveLength(1);
  });
});

describe('a place that has nothing of an answer', () => {
  it('finds it by the server’s list, and reads it from its beginning', async () => {
    const { server, context, calls, nextCall } = await staged();
    const first = await openTab(context, server.url);
    await ask(first);
    const call = await nextCall();
    call.say('Where a ');
    await shown(first, { text: 'Where a ' });
    const elsewhere = await context.newPage();
    await elsewhere.goto(server.url);
    await elsewhere.evaluate(() => {
      globalThis.client = rivulet.createClient({ cache: { namespace: 'elsewhere' } });
    });
    expect(await resume(elsewhere)).toBe('What is a delta?');
    expect(await shown(elsewhere, { text: 'Where a ' })).toMatchObject({
      query: 'What is a delta?',
      status: 'streaming',
    });
    say(call, 'river ends.');
    for (const tab of [first, elsewhere]) {
      expect((await shown(tab, { status: 'done' })).text).toBe('Where a river ends.');
    }
    expect(calls).toHaveLength(1);
  });

  it('fails with `not_found` if nobody knows it', async () => {
    const { server, context } = await staged();
    const tab = await openTab(context, server.url);
    await tab.evaluate(() => void (globalThis.answer = client.resume('nobody-knows')));
    expect(await shown(tab, { status: 'failed' })).toMatchObject({ code: 'not_found', text: '' });
  });
});
