import type { Browser, BrowserContext, Locator, Page } from 'playwright';
import { onTestFinished } from 'vitest';

/** A chat screen of `demo/examples`. */
export class ChatPage {
  readonly page: Page;
  /** Errors in its console, but for those of a network that the test has cut. */
  readonly complaints: string[] = [];

  constructor(page: Page) {
    this.page = page;
    page.on('pageerror', (error) => void this.complaints.push(error.message));
    page.on('console', (message) => {
      const isNetwork = /net::ERR_|WebSocket connection/.test(message.text());
      if (message.type() === 'error' && !isNetwork) this.complaints.push(message.text());
    });
  }

  /** The screen in a browser that nobody has used. */
  static async open(browser: Browser, url: string, name: string): Promise<ChatPage> {
    const context = await browser.newContext();
    onTestFinished(() => context.close());
    return ChatPage.openTab(context, url, name);
  }

  static async openTab(context: BrowserContext, url: string, name: string): Promise<ChatPage> {
    const chat = new ChatPage(await context.newPage());
    await chat.page.goto(`${url}/examples/${name}/chat.html`);
    await chat.page.locator('[data-status=ready], [data-status=streaming]').first().waitFor();
    return chat;
  }

  get input(): Locator {
    return this.page.getByLabel('Question');
  }

  /** The message at `index`, from 0; from the end if it is negative. */
  message(index: number): Locator {
    return this.page.locator('article').nth(index);
  }

  async ask(question: string): Promise<void> {
    await this.input.fill(question);
    await this.press('Ask');
  }

  press(button: string, within: Page | Locator = this.page): Promise<void> {
    return within.getByRole('button', { name: button, exact: true }).click();
  }

  /** Answers the next dialog with `text`. */
  async edit(index: number, text: string): Promise<void> {
    this.page.once('dialog', (dialog) => void dialog.accept(text));
    await this.press('Edit', this.message(index));
  }

  /** The visible messages, as `status: text`. */
  messages(): Promise<string[]> {
    return this.page
      .locator('article')
      .evaluateAll((articles) =>
        articles.map(
          (article) =>
            `${(article as HTMLElement).dataset['status']}: ${article.querySelector('p')?.textContent}`,
        ),
      );
  }
}
