import type { Browser, Locator, Page } from 'playwright';
import { onTestFinished } from 'vitest';
import type { ViteDevServer } from 'vite';
import { startServer } from './rivulet.js';
import { stage } from './stage.js';

/** A screen of `demo/examples` in a browser of its own, with a server whose provider the test plays. */
export async function openExample(
  browser: Browser,
  vite: ViteDevServer,
  name: string,
  options?: Parameters<typeof startServer>[1],
) {
  const { provider, calls, nextCall } = stage();
  const page = (...[request, response]: Parameters<ViteDevServer['middlewares']>): void =>
    vite.middlewares(request, response);
  const server = await startServer(provider, { page, ...options });
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const tab = await context.newPage();
  const example = new ExamplePage(tab);
  await tab.goto(`${server.url}/examples/${name}/`);
  await example.output.waitFor({ state: 'attached' });
  return { example, calls, nextCall };
}

export class ExamplePage {
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

  get output(): Locator {
    return this.page.locator('output');
  }

  async ask(question: string): Promise<void> {
    await this.page.getByLabel('Question').fill(question);
    await this.press('Ask');
  }

  press(button: 'Ask' | 'Stop' | 'Retry' | 'Close' | 'Open'): Promise<void> {
    return this.page.getByRole('button', { name: button, exact: true }).click();
  }

  /** The text, once it has the status. */
  async reaches(status: string): Promise<string | null> {
    await this.page.locator(`output[data-status=${status}]`).waitFor({ state: 'attached' });
    return this.output.textContent();
  }

  /** Once it shows the text. */
  async shows(text: string): Promise<void> {
    await this.output.filter({ hasText: text }).waitFor();
  }

  /** From now to the end of the answer: how often its text was drawn, in how many frames and milliseconds. */
  drawings(): Promise<{ drawn: number; frames: number; elapsedMs: number }> {
    return this.output.evaluate(
      (output) =>
        new Promise((resolve) => {
          const startedAt = performance.now();
          let drawn = 0;
          let frames = 0;
          const observer = new MutationObserver((records) => {
            drawn += records.filter(({ type }) => type !== 'attributes').length;
          });
          observer.observe(output, {
            subtree: true,
            childList: true,
            characterData: true,
          });
          const count = (): void => {
            if (output.dataset['status'] === 'done') {
              observer.disconnect();
              return resolve({ drawn, frames, elapsedMs: performance.now() - startedAt });
            }
            frames += 1;
            requestAnimationFrame(count);
          };
          requestAnimationFrame(count);
        }),
    );
  }
}
