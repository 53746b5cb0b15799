/**
 * Makes pictures of the demo page in its main states: `npm run screenshots`, or
 * `npm run screenshots -- generating` for one. They are in docs/images.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions } from 'playwright';
import { openBuiltPages } from '../../demo/built-pages.js';
import { startChild } from '../harness/child.js';
import { launchChromium } from '../harness/chromium.js';
import { serveDemo } from '../harness/demo-server.js';
import { stage } from '../harness/stage.js';
import { type Scene, scenes, TOOLS, type Visitor } from './scenes.js';

const FOLDER = join(import.meta.dirname, '../../docs/images');
const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const LOOKS: Record<string, BrowserContextOptions> = {
  light: { ...DESKTOP, colorScheme: 'light' },
  dark: { ...DESKTOP, colorScheme: 'dark' },
  phone: { ...PHONE, colorScheme: 'light' },
  'phone-dark': { ...PHONE, colorScheme: 'dark' },
};

/** "Try to break it", which only `npm start` has. */
const LAB = 'try-to-break-it';
const WIDE = { viewport: { width: 1440, height: 900 } };
/** No model, so that the scripted answer comes. */
const NO_MODEL = {
  PORT: '0',
  GEMINI_API_KEY: '',
  OPENAI_API_KEY: '',
  OPENAI_BASE_URL: '',
  OLLAMA_HOST: 'http://127.0.0.1:9',
};

const wanted = process.argv.slice(2);
await mkdir(FOLDER, { recursive: true });
const browser = await launchChromium();
try {
  if (wanted.length === 0 || wanted.includes(LAB)) {
    for (const look of ['light', 'dark']) {
      const path = join(FOLDER, `${LAB}-${look}.png`);
      await pictureOfLab(browser, { ...LOOKS[look], ...WIDE }, path);
      console.log(path);
    }
  }
  for (const scene of scenes) {
    if (wanted.length > 0 && !wanted.includes(scene.name)) continue;
    for (const [look, options] of Object.entries(LOOKS)) {
      const path = join(FOLDER, `${scene.name}-${look}.png`);
      await picture(browser, scene, options, path);
      console.log(path);
    }
  }
} finally {
  await browser.close();
}

async function picture(
  chromium: Browser,
  scene: Scene,
  options: BrowserContextOptions,
  path: string,
): Promise<void> {
  const { provider, nextCall } = stage('ollama', 'llama3.2');
  const env = { LLM_CACHE_ENABLED: 'false' };
  const server = await serveDemo(provider, { env, tools: TOOLS });
  const context = await chromium.newContext({ ...options, reducedMotion: 'reduce' });
  try {
    const page = await context.newPage();
    // Engine.IO takes no notice of a network that is away where the host is called localhost.
    await page.goto(server.url.replace('localhost', '127.0.0.1'));
    await page.locator('[data-connection=connected]').waitFor();
    const field = page.getByTestId('question');
    const visitor: Visitor = {
      page,
      nextCall,
      async ask(question) {
        await field.fill(question);
        await field.press('Enter');
      },
      reaches: (status) => page.locator(`article:last-of-type[data-status=${status}]`).waitFor(),
      reads: (words) => page.locator('article').last().getByText(words).first().waitFor(),
      isTold: (words) => page.getByTestId('status').getByText(words).waitFor(),
    };
    await scene.play(visitor);
    // A tooltip or a hover would be in the way.
    await page.mouse.move(0, 0);
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path, animations: 'disabled' });
  } finally {
    await context.close();
    await server.close();
  }
}

async function pictureOfLab(
  chromium: Browser,
  options: BrowserContextOptions,
  path: string,
): Promise<void> {
  // The page is built before `npm start` has to be ready.
  await openBuiltPages({ hasLab: true });
  const started = await startChild('npm', ['start'], {
    env: NO_MODEL,
    ready: /Rivulet is at (\S+)/,
    group: true,
  });
  const context = await chromium.newContext({ ...options, reducedMotion: 'reduce' });
  try {
    const page = await context.newPage();
    await page.goto(started.match[1]!);
    await page.locator('[data-connection=connected]').waitFor();
    await page.getByRole('button', { name: 'Try to break it' }).click();
    await page.getByRole('button', { name: 'Show me an answer' }).click();
    await page.getByRole('heading', { name: 'The reader in a few lines' }).waitFor();
    await page.getByRole('button', { name: 'Cut the connection' }).click();
    await page.getByTestId('status').getByText('Reconnected').waitFor();
    await page.locator('article pre').getByText('export').waitFor();
    await page.getByText(/^Exact so far/).waitFor();
    await page.mouse.move(0, 0);
    await page.screenshot({ path, animations: 'disabled' });
  } finally {
    await context.close();
    await started.stop('SIGINT');
  }
}
