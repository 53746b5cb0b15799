/**
 * Makes pictures of the demo page in its main states: `npm run screenshots`, or
 * `npm run screenshots -- generating` for one. They are in docs/images.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions } from 'playwright';
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

const wanted = process.argv.slice(2);
await mkdir(FOLDER, { recursive: true });
const browser = await launchChromium();
try {
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
