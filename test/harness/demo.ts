import type { ServerOptions } from '@rivulet/server';
import axe from 'axe-core';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright';
import { onTestFinished, vi } from 'vitest';
import { type Child, startChild } from './child.js';
import { serveDemo } from './demo-server.js';
import { type Stage, stage } from './stage.js';

/** `npm start` as a visitor runs it; Ctrl-C goes to the whole process group. */
export function npmStart(env: Record<string, string>): Promise<Child & { url: string }> {
  return npmRun('start', env);
}

/** A script of package.json that serves the demo page. */
export async function npmRun(
  script: 'start' | 'dev',
  env: Record<string, string>,
): Promise<Child & { url: string }> {
  const child = await startChild('npm', ['run', script], {
    env: { PORT: '0', GEMINI_API_KEY: '', OPENAI_API_KEY: '', OPENAI_BASE_URL: '', ...env },
    ready: /Rivulet is at (\S+)/,
    group: true,
  });
  return { ...child, url: child.match[1]! };
}

export interface StagedDemo extends Stage {
  readonly demo: DemoPage;
  readonly url: string;
  /** Closes the server, and starts another one at its URL, which knows nothing. */
  restart(): Promise<void>;
}

/** The demo page, with a model that the test plays. */
export async function stagedDemo(
  browser: Browser,
  { server: options, ...context }: BrowserContextOptions & { server?: ServerOptions } = {},
): Promise<StagedDemo> {
  const played = stage();
  const env = { LLM_CACHE_ENABLED: 'false' };
  let server = await serveDemo(played.provider, { env, ...options });
  onTestFinished(() => server.close());
  // Engine.IO takes no notice of a network that is away where the host is called localhost.
  const url = server.url.replace('localhost', '127.0.0.1');
  return {
    ...played,
    url,
    demo: await DemoPage.open(browser, url, context),
    async restart() {
      await server.close();
      server = await serveDemo(played.provider, {
        env,
        ...options,
        port: Number(new URL(url).port),
      });
    },
  };
}

/** The demo page in a browser of its own. */
export class DemoPage {
  readonly page: Page;
  /** The frames that the page has sent over its sockets. */
  readonly sent: string[] = [];
  /** Errors in its console, those of its content security policy among them. */
  readonly complaints: string[] = [];

  constructor(page: Page) {
    this.page = page;
    page.on('websocket', (socket) => {
      socket.on('framesent', ({ payload }) => void this.sent.push(String(payload)));
    });
    page.on('pageerror', (error) => void this.complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text());
    });
  }

  static async open(
    browser: Browser,
    url: string,
    options: BrowserContextOptions = {},
  ): Promise<DemoPage> {
    const context = await browser.newContext(options);
    onTestFinished(() => context.close());
    const demo = new DemoPage(await context.newPage());
    await demo.page.goto(url);
    await demo.page.locator('[data-connection=connected]').waitFor();
    return demo;
  }

  /** The newest answer. */
  get answer(): Locator {
    return this.page.locator('article').last();
  }

  /** The newest question. */
  get question(): Locator {
    return this.page.locator('.question').last();
  }

  /** The field for a question. */
  get field(): Locator {
    return this.page.getByTestId('question');
  }

  /** The one button that asks or stops. */
  get send(): Locator {
    return this.page.getByTestId('send');
  }

  /** The line that says what the page waits for. */
  get status(): Locator {
    return this.page.getByTestId('status');
  }

  part(testId: string): Locator {
    return this.answer.getByTestId(testId);
  }

  async ask(question: string): Promise<void> {
    await this.field.fill(question);
    await this.field.press('Enter');
  }

  async stop(): Promise<void> {
    await this.page.locator('[data-testid=send][data-mode=stop]').click();
  }

  /** Once the newest answer, finished or not, is exactly that. */
  async shows(text: string): Promise<void> {
    await vi.waitFor(
      async () => {
        const shown = await this.part('answer-text').textContent({ timeout: 1_000 });
        if (shown !== text) throw new Error(`the answer shows ${JSON.stringify(shown)}`);
      },
      { timeout: 10_000 },
    );
  }

  /** Resolves when a chat in IndexedDB has the text. The page shows a change before it is written. */
  async hasStored(text: string): Promise<void> {
    await vi.waitFor(async () => {
      const stored = JSON.stringify(await this.#storedRecords());
      if (!stored.includes(JSON.stringify(text))) throw new Error(`no chat has ${text}`);
    }, 10_000);
  }

  /** Resolves when the version that was selected last, in IndexedDB, has the text. */
  async hasStoredSelection(text: string): Promise<void> {
    await vi.waitFor(async () => {
      const records = (await this.#storedRecords()) as { selectedAt?: number }[];
      records.sort((a, b) => (b.selectedAt ?? 0) - (a.selectedAt ?? 0));
      const selected = JSON.stringify(records[0] ?? {});
      if (!selected.includes(JSON.stringify(text))) throw new Error(`selected is ${selected}`);
    });
  }

  #storedRecords(): Promise<unknown[]> {
    return this.page.evaluate(async () => {
      const resultOf = <T>(request: IDBRequest<T>): Promise<T> =>
        new Promise((resolve, reject) => {
          request.addEventListener('success', () => resolve(request.result));
          request.addEventListener('error', () => reject(request.error!));
        });
      const found: unknown[] = [];
      for (const { name } of await indexedDB.databases()) {
        const database = await resultOf(indexedDB.open(name!));
        const objects = database.transaction('answers').objectStore('answers');
        found.push(...(await resultOf(objects.getAll())));
        database.close();
      }
      return found;
    });
  }

  async newChat(): Promise<void> {
    await this.page.getByRole('button', { name: 'New chat' }).click();
    await this.page.locator('#welcome').waitFor();
  }

  /** Opens the same chat in another tab of the same browser. */
  async secondTab(): Promise<DemoPage> {
    const second = new DemoPage(await this.page.context().newPage());
    await second.page.goto(this.page.url());
    await second.page.locator('[data-connection=connected]').waitFor();
    return second;
  }

  async reaches(status: string): Promise<void> {
    await this.page.locator(`article:last-of-type[data-status=${status}]`).waitFor();
  }

  /** Runs all rules of axe-core. @returns its findings. axe-core cannot tell the contrast of every text. */
  async findings(): Promise<string[]> {
    await this.page.evaluate(axe.source);
    return this.page.evaluate(async () => {
      const run = (globalThis as unknown as { axe: typeof axe }).axe.run();
      const { violations, incomplete } = await run;
      const unsure = incomplete.filter(({ id }) => id !== 'color-contrast');
      return [...violations, ...unsure].flatMap(({ id, nodes }) =>
        nodes.map(({ html }) => `${id}: ${html}`),
      );
    });
  }

  /** The number of questions that the page sent. */
  starts(): number {
    return this.sent.filter((frame) => frame.includes('"stream_start"')).length;
  }

  /** The lengths that the newest answer's text had while it was not final. */
  async growth(): Promise<number[]> {
    await this.answer.waitFor();
    return this.answer.evaluate(
      (article) =>
        new Promise<number[]>((resolve) => {
          const text = article.querySelector('[data-testid=answer-text]')!;
          const lengths: number[] = [];
          const note = (): void => {
            const { status } = (article as HTMLElement).dataset;
            if (status !== 'waiting' && status !== 'streaming') {
              observer.disconnect();
              resolve(lengths);
            } else if (text.textContent.length !== lengths.at(-1)) {
              lengths.push(text.textContent.length);
            }
          };
          const observer = new MutationObserver(note);
          observer.observe(article, {
            subtree: true,
            childList: true,
            characterData: true,
            attributes: true,
          });
          note();
        }),
    );
  }
}
