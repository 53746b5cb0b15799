import { mkdtemp } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ProviderError, questionOf } from '@rivulet/server';
import type { Browser, Page } from 'playwright';
import { build, defaultClientConditions } from 'vite';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { providersOf } from '../harness/providers.js';
import { startServer } from '../harness/rivulet.js';
import { serveFolder } from '../harness/serve-folder.js';
import { stage } from '../harness/stage.js';
import { resultsTold, runs } from '../harness/tools.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SOURCES = `${ROOT}packages/client/src`;

let browser: Browser;
let page: RequestListener;

beforeAll(async () => {
  browser = await launchChromium();
  const outDir = await mkdtemp(join(tmpdir(), 'rivulet-copilotkit-'));
  await build({
    configFile: false,
    root: fileURLToPath(new URL('.', import.meta.url)),
    logLevel: 'error',
    resolve: {
      alias: {
        '@rivulet/client/ag-ui': `${SOURCES}/bridges/ag-ui.ts`,
        '@rivulet/client': `${SOURCES}/index.ts`,
      },
      conditions: ['@rivulet/source', ...defaultClientConditions],
      // The bridge is to extend the class that CopilotKit knows.
      dedupe: ['@ag-ui/client', '@ag-ui/core', 'react', 'react-dom', 'rxjs'],
    },
    build: { outDir, minify: false, reportCompressedSize: false, chunkSizeWarningLimit: 100_000 },
  });
  page = serveFolder(outDir);
}, 300_000);
afterAll(() => browser.close());

async function open() {
  const { provider, calls, nextCall } = stage();
  const fallback = stage('fallback');
  const erased: string[] = [];
  const tools = [runs('erase', ({ of }) => void erased.push(of), { needsApproval: true })];
  const providers = providersOf(provider, fallback.provider);
  const { url } = await startServer(provider, { page, tools, providers });
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const tab = await context.newPage();
  await tab.goto(`${url}/index.html`);
  await tab.getByTestId('copilot-chat-textarea').waitFor();
  return { tab, calls, nextCall, nextFallbackCall: fallback.nextCall, erased };
}

async function ask(tab: Page, question: string): Promise<void> {
  await tab.getByTestId('copilot-chat-textarea').fill(question);
  await tab.getByTestId('copilot-send-button').click();
}

/** Once the answers have these texts together. */
async function shows(tab: Page, text: string): Promise<void> {
  await tab.waitForFunction(
    (expected) =>
      [...document.querySelectorAll('[data-testid=copilot-assistant-message]')]
        .map(({ textContent }) => textContent.trim())
        .filter((shown) => shown !== '')
        .join('|') === expected,
    text,
    { timeout: 10_000 },
  );
}

describe('the components of CopilotKit', () => {
  it('show an answer as it comes, and ask with what was said', async () => {
    const { tab, nextCall } = await open();
    await ask(tab, 'What is a delta?');
    const call = await nextCall();
    expect(questionOf(call.prompt)).toBe('What is a delta?');
    call.say('Where a river');
    await shows(tab, 'Where a river');
    call.say(' ends.');
    call.finish();
    await shows(tab, 'Where a river ends.');

    await ask(tab, 'And an estuary?');
    const { prompt } = await nextCall();
    expect(prompt.messages).toMatchObject([
      { role: 'user', text: 'What is a delta?' },
      { role: 'assistant', text: 'Where a river ends.' },
      { role: 'user', text: 'And an estuary?' },
    ]);
  });

  it('stop the model', async () => {
    const { tab, calls, nextCall } = await open();
    await ask(tab, 'What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await shows(tab, 'Where a');
    // While an answer comes, the button stops it.
    await tab.getByTestId('copilot-send-button').click();
    await call.aborted;
    await shows(tab, 'Where a');
    expect(calls).toHaveLength(1);
  });

  it('read on after a reload', async () => {
    const { tab, calls, nextCall } = await open();
    await ask(tab, 'What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await shows(tab, 'Where a');
    await tab.reload();
    await shows(tab, 'Where a');
    call.say(' river ends.');
    call.finish();
    await shows(tab, 'Where a river ends.');
    expect(calls).toHaveLength(1);
  });

  it('show only the text of the last attempt', async () => {
    const { tab, calls, nextCall, nextFallbackCall } = await open();
    await ask(tab, 'What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await shows(tab, 'Where a');
    call.fail(new ProviderError('unavailable', 'unable to go on: cut'));
    const second = await nextFallbackCall();
    second.say('At a mouth.');
    second.finish();
    await shows(tab, 'At a mouth.');
    expect(calls).toHaveLength(1);
  });

  it('answer the calls of frontend tools', async () => {
    const { tab, calls, nextCall } = await open();
    await ask(tab, 'Which language?');
    const call = await nextCall();
    expect(call.prompt.tools?.map(({ name }) => name)).toContain('language');
    call.callTool('language', {});
    call.finish();
    const last = await nextCall();
    expect(resultsTold(last)).toMatchObject([{ name: 'language', result: 'en-US' }]);
    last.say('English.');
    last.finish();
    await shows(tab, 'English.');
    expect(calls).toHaveLength(2);
  });

  it('approve a call by an interrupt', async () => {
    const { tab, nextCall, erased } = await open();
    await ask(tab, 'Erase it.');
    const call = await nextCall();
    call.callTool('erase', { of: 'it' });
    call.finish();
    await tab.getByRole('button', { name: 'Approve' }).click();
    const last = await nextCall();
    expect(erased).toEqual(['it']);
    last.say('Done.');
    last.finish();
    await shows(tab, 'Done.');
  });
});
