import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright';
import { onTestFinished } from 'vitest';
import { type Child, startChild } from './child.js';

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

/** The demo page in a browser of its own. */
export class DemoPage {
  readonly page: Page;
  /** What the page has sent over its sockets. */
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

  /** The article of the newest question. */
  get answer(): Locator {
    return this.page.locator('article').last();
  }

  part(testId: string): Locator {
    return this.answer.getByTestId(testId);
  }

  async ask(question: string): Promise<void> {
    await this.page.getByTestId('question').fill(question);
    await this.page.keyboard.press('Enter');
  }

  async reaches(status: string): Promise<void> {
    await this.page.locator(`article:last-of-type[data-status=${status}]`).waitFor();
  }

  /** How often the page asked a server. */
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
