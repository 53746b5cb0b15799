import { ProviderError, questionOf } from '@rivulet/server';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import type { Browser } from 'playwright';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildBridges, openBridge } from '../harness/bridge.js';
import { launchChromium } from '../harness/chromium.js';
import { resultsTold } from '../harness/tools.js';
import { createMatrix } from '../harness/compatibility.js';

/** The newest versions are those of the examples; the pages are built with the older ones once more. */
const OLDER = { '@ai-sdk/react': 'ai-sdk-react-3', ai: 'ai-6', '@ag-ui/client': 'ag-ui-client-0' };

const BRIDGES = [
  { name: 'ai-sdk', versions: 'newest', of: ['ai', '@ai-sdk/react'] },
  { name: 'ai-sdk', versions: 'older', of: ['ai', '@ai-sdk/react'] },
  { name: 'tanstack-ai', versions: 'newest', of: ['@tanstack/ai-client', '@tanstack/ai-react'] },
  { name: 'ag-ui', versions: 'newest', of: ['@ag-ui/client'] },
  { name: 'ag-ui', versions: 'older', of: ['@ag-ui/client'] },
  {
    name: 'assistant-ui',
    versions: 'newest',
    of: ['@assistant-ui/react', '@assistant-ui/react-ai-sdk'],
  },
] as const;

const CUT = new ProviderError('unavailable', 'unable to go on: cut');

const matrix = createMatrix();

/** The name and version of the package that a page is built with, such as `ai 6.0.325`. */
function versionOf(name: string, versions: 'newest' | 'older'): string {
  const folder = versions === 'older' ? OLDER[name as keyof typeof OLDER] : name;
  const path = new URL(`../../node_modules/${folder}/package.json`, import.meta.url);
  return `${name} ${(JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version}`;
}

let browser: Browser;
let pages: Record<'newest' | 'older', RequestListener>;

beforeAll(async () => {
  browser = await launchChromium();
  pages = {
    newest: await buildBridges(['ai-sdk', 'tanstack-ai', 'ag-ui', 'assistant-ui']),
    older: await buildBridges(['ai-sdk', 'ag-ui'], OLDER),
  };
});
afterAll(() => browser.close());

describe.each(BRIDGES)('$name with the $versions packages', ({ name, versions, of }) => {
  const open = () => openBridge(browser, pages[versions], name);
  const row = `${name} | ${of.map((module) => versionOf(module, versions)).join(', ')}`;
  afterEach(({ task }) => matrix.record(row, task.name, task.result?.state === 'pass'));

  it('text', async () => {
    const { tab, nextCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    expect(questionOf(call.prompt)).toBe('What is a delta?');
    call.say('Where a river');
    await tab.shows('p', 'Where a river');
    await tab.isBusy();
    call.say(' ends.');
    call.finish();
    await tab.shows('p', 'Where a river ends.');
    await tab.isReady();

    await tab.ask('And an estuary?');
    const next = await nextCall();
    expect(next.prompt.messages).toMatchObject([
      { role: 'user', text: 'What is a delta?' },
      { role: 'assistant', text: 'Where a river ends.' },
      { role: 'user', text: 'And an estuary?' },
    ]);
    next.say('A mouth.');
    next.finish();
    await tab.shows('p', 'Where a river ends.', 'A mouth.');
    await tab.isReady();
    expect(tab.complaints).toEqual([]);
  });

  it('reasoning', async () => {
    const { tab, nextCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.think('A river');
    await tab.shows('small', 'A river');
    call.think(' then.');
    call.say('It ends.');
    await tab.shows('small', 'A river then.');
    await tab.shows('p', 'It ends.');
    call.finish();
    await tab.isReady();
    expect(tab.complaints).toEqual([]);
  });

  it('tools', async () => {
    const { tab, nextCall } = await open();
    await tab.ask('How high?');
    const call = await nextCall();
    call.say('I look it up.');
    call.callTool('height', { of: 'Mont Blanc' });
    call.callTool('height', { of: 'nothing' });
    call.finish();
    const last = await nextCall();
    last.say('4810 m.');
    await tab.shows('p', 'I look it up.', '4810 m.');
    const shown = await tab.page.locator('code').allTextContents();
    expect(shown.join()).toMatch(/height.*Mont Blanc/);
    expect(shown.join()).toMatch(/height.*nothing/);
    expect(shown.join()).toMatch(/4810/);
    expect(shown.join()).toMatch(/failed/);
    last.finish();
    await tab.isReady();
    expect(tab.complaints).toEqual([]);
  });

  it('stop', async () => {
    const { tab, nextCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await tab.shows('p', 'Where a');
    await tab.stop();
    await call.aborted;
    await tab.isReady();
    await tab.shows('p', 'Where a');
    expect(tab.complaints).toEqual([]);
  });

  it('reload', async () => {
    const { tab, calls, nextCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await tab.shows('p', 'Where a');
    await tab.reload();
    await tab.isBusy();
    call.say(' river ends');
    await tab.shows('p', 'Where a river ends');
    await tab.stop();
    await call.aborted;
    await tab.isReady();
    await tab.shows('p', 'Where a river ends');
    expect(calls).toHaveLength(1);
  });

  it('second tab', async () => {
    const { tab, open: openTab, calls, nextCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await tab.shows('p', 'Where a');
    const second = await openTab();
    await second.shows('p', 'Where a');
    call.say(' river ends');
    await second.shows('p', 'Where a river ends');
    await second.stop();
    await call.aborted;
    await tab.isReady();
    await tab.shows('p', 'Where a river ends');
    expect(calls).toHaveLength(1);
  });

  it('stop right after a reload', async () => {
    const { tab, calls, nextCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await tab.shows('p', 'Where a');
    await tab.reload();
    await tab.isBusy();
    await tab.stop();
    await call.aborted;
    await tab.isReady();
    expect(calls).toHaveLength(1);
  });

  it('error', async () => {
    const { tab, nextCall, nextFallbackCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await tab.shows('p', 'Where a');
    call.fail(CUT);
    (await nextFallbackCall()).fail(CUT);
    expect(await tab.alert()).toContain('cut');
    await tab.shows('p', 'Where a');
    await tab.isReady();
  });

  it('restart', async () => {
    const { tab, nextCall, nextFallbackCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.think('A river');
    call.say('Where a');
    await tab.shows('p', 'Where a');
    call.fail(CUT);
    const second = await nextFallbackCall();
    second.think('A mouth');
    second.say('At a');
    await tab.shows('p', 'At a');
    await tab.shows('small', 'A mouth');
    second.say(' mouth');
    await tab.shows('p', 'At a mouth');
    await tab.reload();
    await tab.isBusy();
    second.say('.');
    second.finish();
    await tab.shows('p', 'At a mouth.');
    await tab.isReady();
    await tab.reload();
    await tab.shows('p', 'At a mouth.');

    // The model does not see the void text.
    await tab.ask('And an estuary?');
    const { prompt } = await nextCall();
    expect(prompt.messages).toMatchObject([
      { role: 'user', text: 'What is a delta?' },
      { role: 'assistant', text: 'At a mouth.' },
      { role: 'user', text: 'And an estuary?' },
    ]);
  });

  it('client tools', async () => {
    const { tab, calls, nextCall } = await open();
    for (const round of [1, 2]) {
      await tab.ask('Which language?');
      const call = await nextCall();
      expect(call.prompt.tools).toContainEqual(expect.objectContaining({ name: 'language' }));
      call.say('I look.');
      call.callTool('language', {});
      call.finish();
      const last = await nextCall();
      expect(resultsTold(last).at(-1)).toMatchObject({ name: 'language', result: 'en-US' });
      last.say('English.');
      await tab.shows('p', ...Array.from({ length: round }, () => ['I look.', 'English.']).flat());
      last.finish();
      await tab.isReady();
    }
    const shown = await tab.page.locator('code').allTextContents();
    expect(shown.join().match(/en-US/g)).toHaveLength(2);
    expect(calls).toHaveLength(4);
    expect(tab.complaints).toEqual([]);
  });

  it('approval', async () => {
    const { tab, calls, nextCall, erased } = await open();
    await tab.ask('Erase it.');
    const call = await nextCall();
    call.say('I erase it.');
    call.callTool('erase', { of: 'one' });
    call.callTool('height', { of: 'it' });
    call.finish();
    await tab.page.getByRole('button', { name: 'Approve' }).waitFor();
    await tab.reload();
    expect(erased).toEqual([]);
    // The AI SDK 7 forgets a decision that is made while it still reads the answer again.
    await tab.page.getByRole('button', { name: 'Approve' }).waitFor();
    await tab.isReady();
    await tab.decide('Approve');
    const last = await nextCall();
    expect(erased).toEqual(['one']);
    last.say('Done.');
    await tab.shows('p', 'I erase it.', 'Done.');
    last.finish();
    await tab.isReady();

    await tab.ask('Erase another.');
    const other = await nextCall();
    other.callTool('erase', { of: 'two' });
    other.finish();
    await tab.decide('Refuse');
    const refused = await nextCall();
    expect(resultsTold(refused).at(-1)).toMatchObject({ error: expect.stringMatching(/refused/) });
    refused.say('Kept.');
    refused.finish();
    await tab.shows('p', 'I erase it.', 'Done.', 'Kept.');
    await tab.isReady();
    expect(erased).toEqual(['one']);
    expect(calls).toHaveLength(4);
    expect(tab.complaints).toEqual([]);
  });

  it('stop while a call waits', async () => {
    const { tab, calls, nextCall, erased, ended } = await open();
    await tab.ask('Erase it.');
    const call = await nextCall();
    call.callTool('erase', { of: 'one' });
    call.finish();
    await tab.page.getByRole('button', { name: 'Approve' }).waitFor();
    await tab.reload();
    await tab.page.getByRole('button', { name: 'Approve' }).waitFor();
    await tab.isReady();
    await tab.stop();
    expect(await ended).toMatchObject({ outcome: 'cancelled' });

    await tab.ask('And then?');
    const next = await nextCall();
    next.say('Nothing.');
    next.finish();
    await tab.shows('p', 'Nothing.');
    await tab.isReady();
    expect(erased).toEqual([]);
    expect(calls).toHaveLength(2);
    expect(tab.complaints).toEqual([]);
  });

  it('restart during a reload', async () => {
    const { tab, calls, nextCall, nextFallbackCall } = await open();
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await tab.shows('p', 'Where a');
    await tab.page.goto('about:blank');
    call.fail(CUT);
    const second = await nextFallbackCall();
    second.say('At a');
    await tab.return();
    await tab.shows('p', 'At a');
    second.say(' mouth.');
    second.finish();
    await tab.shows('p', 'At a mouth.');
    await tab.isReady();
    expect(calls).toHaveLength(1);
  });
});

describe.each(['newest', 'older'] as const)('useChat of the AI SDK, $0', (versions) => {
  it('neither stops nor asks twice where its view is mounted again at once', async () => {
    const { tab, calls, nextCall } = await openBridge(browser, pages[versions], 'ai-sdk');
    await tab.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await tab.shows('p', 'Where a');
    await tab.remount();
    call.say(' river ends.');
    await tab.shows('p', 'Where a river ends.');
    call.finish();
    await tab.isReady();
    expect(calls).toHaveLength(1);
    expect(tab.complaints).toEqual([]);
  });
});

describe('docs/compatibility.md', () => {
  it('says what these tests gave', async () => {
    const path = new URL('../../docs/compatibility.md', import.meta.url);
    if (process.env['WRITE_COMPATIBILITY'] === '1') await writeFile(path, matrix.document());
    expect(await readFile(path, 'utf8')).toBe(matrix.document());
  });
});
