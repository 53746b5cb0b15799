import { firefox, type Page } from 'playwright';
import { launchChromium } from './chromium.js';
import { startWebKit } from './webkit.js';

/** A browser engine, as `BROWSERS` names it. */
export type Engine = 'chromium' | 'firefox' | 'webkit';

/** The part of Playwright's `Page` that the tests of all engines use. */
export type TestPage = Pick<Page, 'evaluate'> & {
  goto(url: string): Promise<unknown>;
  reload(): Promise<unknown>;
  close(): Promise<unknown>;
};

/** A browser profile that nobody has used. */
export interface TestContext {
  newPage(): Promise<TestPage>;
  close(): Promise<unknown>;
}

export interface TestBrowser {
  newContext(options?: { blocksCookies?: boolean | undefined }): Promise<TestContext>;
  close(): Promise<unknown>;
}

export const FIREFOX_PATH: string = process.env['FIREFOX_PATH'] ?? '/usr/bin/firefox-esr';
/** Rejects all cookies and site data, as the setting of that name does. */
const BLOCK_COOKIES = { 'network.cookie.cookieBehavior': 2 };

/** Debian's build of an engine, without a window. */
export async function launchEngine(engine: Engine): Promise<TestBrowser> {
  if (engine === 'webkit') return startWebKit();
  if (engine === 'chromium') {
    const browser = await launchChromium();
    return { newContext: () => browser.newContext(), close: () => browser.close() };
  }
  const launch = (firefoxUserPrefs: Record<string, number> = {}) =>
    firefox.launch({ channel: 'moz-firefox', executablePath: FIREFOX_PATH, firefoxUserPrefs });
  const browser = await launch();
  return {
    async newContext({ blocksCookies = false } = {}) {
      if (!blocksCookies) return browser.newContext();
      const blocking = await launch(BLOCK_COOKIES);
      const context = await blocking.newContext();
      return { newPage: () => context.newPage(), close: () => blocking.close() };
    },
    close: () => browser.close(),
  };
}
