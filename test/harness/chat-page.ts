import type { Browser, BrowserContext, Locator, Page, WebSocket } from 'playwright';
import { expect, onTestFinished } from 'vitest';

/** A chat screen of `demo/examples`. */
export class ChatPage {
  readonly page: Page;
  /** Errors in its console, but for those of a network that the test has cut. */
  readonly complaints: string[] = [];

  #socket: WebSocket | undefined;

  constructor(page: Page) {
    this.page = page;
    page.on('websocket', (socket) => void (this.#socket = socket));
    page.on('pageerror', (error) => void this.complaints.push(error.message));
    page.on('console', (message) => {
      const isNetwork = /net::ERR_|WebSocket connection/.test(message.text());
      if (message.type() === 'error' && !isNetwork) this.complaints.push(message.text());
    });
  }

  /** The screen in a browser that nobody has used. */
  static async open(
    browser: Browser,
    url: string,
    name: string,
    { countsReads = false } = {},
  ): Promise<ChatPage> {
    const context = await browser.newContext();
    onTestFinished(() => context.close());
    if (countsReads) await context.addInitScript(countReads);
    return ChatPage.openTab(context, url, name);
  }

  static async openTab(context: BrowserContext, url: string, name: string): Promise<ChatPage> {
    const chat = new ChatPage(await context.newPage());
    await chat.page.goto(`${url}/examples/${name}/chat.html`);
    await chat.page.locator('section:not([data-status=loading])').waitFor();
    return chat;
  }

  get input(): Locator {
    return this.page.getByLabel('Question');
  }

  /** The message at `index`, from 0; from the end if it is negative. */
  message(index: number): Locator {
    return this.page.locator('article').nth(index);
  }

  text(index: number): Locator {
    return this.message(index).locator('p').first();
  }

  async ask(question: string): Promise<void> {
    await this.input.fill(question);
    await this.press('Ask');
  }

  /** True while the page's newest WebSocket is open. */
  isConnected(): boolean {
    return this.#socket?.isClosed() === false;
  }

  press(button: string, within: Page | Locator = this.page): Promise<void> {
    return within.getByRole('button', { name: button, exact: true }).click();
  }

  /** Answers the next dialog with `text`. */
  async edit(index: number, text: string): Promise<void> {
    this.page.once('dialog', (dialog) => void dialog.accept(text));
    await this.press('Edit', this.message(index));
  }

  /** The text about the failure of a message. */
  alert(index: number): Locator {
    return this.message(index).getByRole('alert');
  }

  /** The visible messages, as `status: text`. */
  messages(): Promise<string[]> {
    return this.page.locator('article').evaluateAll((articles) =>
      articles.map((article) => {
        const { status } = (article as HTMLElement).dataset;
        return `${status}: ${article.querySelector('p')?.textContent}`;
      }),
    );
  }

  /**
   * Notes the text of the newest answer at each frame from now on, also after a reload.
   *
   * @returns a function that gives the texts, each once as long as it stays.
   */
  async sampleFrames(): Promise<() => Promise<string[]>> {
    const texts: string[] = [];
    await this.page.exposeFunction('noteText', (text: string) => void texts.push(text));
    await this.page.addInitScript(noteFrames);
    await this.page.evaluate(noteFrames);
    return async () => {
      await this.page.evaluate(() => new Promise(requestAnimationFrame));
      return texts.filter((text, i) => text !== texts[i - 1]);
    };
  }

  /** The texts of the messages that a view has read since `resetReads`; for `countsReads`. */
  async reads(): Promise<string[]> {
    const reads = await this.page.evaluate(() => [...messageReads.values()]);
    return reads;
  }

  async resetReads(): Promise<void> {
    await this.page.evaluate(() => messageReads.clear());
  }
}

/** Once these are the visible messages, as `status: text`. */
export async function shows(chat: ChatPage, expected: readonly (string | RegExp)[]): Promise<void> {
  const matchers = expected.map((part) =>
    typeof part === 'string' ? part : expect.stringMatching(part),
  );
  await expect.poll(() => chat.messages(), { timeout: 15_000 }).toEqual(matchers);
}

declare global {
  var noteText: (text: string) => void;
  /** The newest text that was read of each message, by its id. */
  var messageReads: Map<string, string>;
}

function noteFrames(): void {
  let last: string | undefined;
  const note = (): void => {
    const text = document.querySelector(
      'article[data-role=assistant]:last-of-type > p',
    )?.textContent;
    if (text !== undefined && text !== last) noteText(text);
    last = text ?? last;
    requestAnimationFrame(note);
  };
  note();
}

/** A view that renders a message reads its text. Chats freeze each message, and do not read it themselves. */
function countReads(): void {
  globalThis.messageReads = new Map();
  const { freeze } = Object;
  Object.freeze = <T>(value: T): Readonly<T> => {
    const message = value as { id: string; text: string; versionCount?: number };
    if (message?.versionCount === undefined) return freeze(value);
    const { id, text } = message;
    Object.defineProperty(message, 'text', {
      enumerable: true,
      get() {
        messageReads.set(id, text);
        return text;
      },
    });
    return freeze(value);
  };
}
