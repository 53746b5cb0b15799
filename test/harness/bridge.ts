import { mkdtemp } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EndedStream } from '@rivulet/server';
import type { Browser, BrowserContext, Locator, Page } from 'playwright';
import { build, defaultClientConditions } from 'vite';
import { onTestFinished } from 'vitest';
import { deferred } from './deferred.js';
import { providersOf } from './providers.js';
import { startServer } from './rivulet.js';
import { serveFolder } from './serve-folder.js';
import { stage } from './stage.js';
import { runs } from './tools.js';

const DEMO = fileURLToPath(new URL('../../demo', import.meta.url));

/** Builds the screens of bridges, with other versions of packages where `alias` names them. @returns what serves them. */
export async function buildBridges(
  names: readonly string[],
  alias: Record<string, string> = {},
): Promise<RequestListener> {
  const outDir = await mkdtemp(join(tmpdir(), 'rivulet-bridges-'));
  await build({
    configFile: false,
    root: DEMO,
    logLevel: 'error',
    resolve: { alias, conditions: ['@rivulet/source', ...defaultClientConditions] },
    build: {
      outDir,
      minify: false,
      reportCompressedSize: false,
      chunkSizeWarningLimit: 10_000,
      rolldownOptions: { input: names.map((name) => join(DEMO, `examples/${name}/index.html`)) },
    },
  });
  return serveFolder(outDir);
}

/** A screen of a bridge in a browser of its own, with a server whose two providers the test plays. */
export async function openBridge(browser: Browser, page: RequestListener, name: string) {
  const { provider, calls, nextCall } = stage();
  const fallback = stage('fallback');
  const erased: string[] = [];
  const tools = [
    runs('height', ({ of }) => {
      if (of === 'nothing') throw new Error('a secret');
      return 4810;
    }),
    runs('erase', ({ of }) => void erased.push(of), { needsApproval: true }),
  ];
  const providers = providersOf(provider, fallback.provider);
  const firstEnd = deferred<EndedStream>();
  const { url } = await startServer(provider, {
    page,
    tools,
    providers,
    onEnd: (stream) => firstEnd.resolve(stream),
  });
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const open = (): Promise<BridgePage> => openTab(context, `${url}/examples/${name}/index.html`);
  const nextFallbackCall = fallback.nextCall;
  const ended = firstEnd.promise;
  return { tab: await open(), open, calls, nextCall, nextFallbackCall, erased, ended };
}

async function openTab(context: BrowserContext, url: string): Promise<BridgePage> {
  const tab = new BridgePage(await context.newPage());
  await tab.page.goto(url);
  await tab.input.waitFor();
  return tab;
}

export class BridgePage {
  readonly page: Page;
  /** Errors in its console. */
  readonly complaints: string[] = [];

  constructor(page: Page) {
    this.page = page;
    page.on('pageerror', (error) => void this.complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text());
    });
  }

  get input(): Locator {
    return this.page.getByLabel('Question');
  }

  async ask(question: string): Promise<void> {
    await this.input.fill(question);
    await this.page.getByRole('button', { name: 'Ask', exact: true }).click();
  }

  /** Answers the call that waits for approval. */
  async decide(decision: 'Approve' | 'Refuse'): Promise<void> {
    await this.page.getByRole('button', { name: decision }).click();
  }

  stop(): Promise<void> {
    return this.page.getByRole('button', { name: 'Stop', exact: true }).click();
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.input.waitFor();
  }

  /** Unmounts the screen, and mounts it again in the same turn. */
  async remount(): Promise<void> {
    await this.page.evaluate(() => {
      const toggle = document.querySelector<HTMLElement>('body > button')!;
      toggle.click();
      toggle.click();
    });
    await this.input.waitFor();
  }

  /** Goes back to the screen from another page. */
  async return(): Promise<void> {
    await this.page.goBack();
    await this.input.waitFor();
  }

  /** Once an answer has these texts, thoughts (`small`) or tools (`code`), in this order and no others. */
  shows(element: 'p' | 'small' | 'code', ...texts: (string | RegExp)[]): Promise<void> {
    return this.waitFor(
      ({ selector, expected }) => {
        const found = [...document.querySelectorAll(selector)]
          .map(({ textContent }) => textContent.trim())
          .filter((text) => text !== '');
        return (
          found.length === expected.length &&
          expected.every((text, at) =>
            text.startsWith('/') ? RegExp(text.slice(1, -1)).test(found[at]!) : text === found[at],
          )
        );
      },
      {
        selector: `[data-role=assistant] ${element}, [data-role=reasoning] ${element}, [data-role=tool] ${element}`,
        expected: texts.map(String),
      },
    );
  }

  /** Once nothing is under way. */
  isReady(): Promise<void> {
    return this.waitFor(
      (selector) => document.querySelector(selector) !== null,
      '[aria-busy=false]',
    );
  }

  isBusy(): Promise<void> {
    return this.waitFor(
      (selector) => document.querySelector(selector) !== null,
      '[aria-busy=true]',
    );
  }

  alert(): Promise<string | null> {
    return this.page.getByRole('alert').textContent();
  }

  private async waitFor<T>(check: (argument: T) => boolean, argument: T): Promise<void> {
    try {
      await this.page.waitForFunction(check as (argument: unknown) => boolean, argument, {
        timeout: 10_000,
      });
    } catch (error) {
      const shown = await this.page.evaluate(() => document.body.innerHTML);
      throw new Error(`${JSON.stringify(argument)} is not in ${shown}, ${this.complaints.join()}`, {
        cause: error,
      });
    }
  }
}
