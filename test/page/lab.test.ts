import type { Browser, BrowserContextOptions, Locator } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Child } from '../harness/child.js';
import { launchChromium } from '../harness/chromium.js';
import { DemoPage, npmStart } from '../harness/demo.js';
import { unusedUrl } from '../harness/fakes.js';

let browser: Browser;
let rivulet: Child & { url: string };

beforeAll(async () => {
  [browser, rivulet] = await Promise.all([
    launchChromium(),
    npmStart({
      LLM_MODE: 'auto',
      OLLAMA_HOST: await unusedUrl(),
      // Each test sees its answer being generated.
      LLM_CACHE_ENABLED: 'false',
      RATE_LIMIT_REQUESTS: '4',
      RATE_LIMIT_WINDOW_SECONDS: '5',
      LOG_LEVEL: 'silent',
    }),
  ]);
});
afterAll(async () => void (await Promise.all([browser.close(), rivulet.stop()])));

/** The documentation answers it in about 8 s, so that a fault comes before the end. */
const QUESTION = 'How do I use OpenAI-compatible servers?';
const SHORT_QUESTION = 'What happens to an answer when the connection drops?';
const STORED = 'Stored in this browser, and cached by the server';

interface Lab {
  demo: DemoPage;
  press(fault: string): Promise<void>;
  /** One column of the comparison. */
  column(name: 'rivulet' | 'plain'): Locator;
  /** Waits until the whole text of the newest answer was compared, and found to be the generated one. */
  isExact(name?: 'rivulet' | 'plain'): Promise<void>;
}

async function openLab(options: BrowserContextOptions = {}): Promise<Lab> {
  const demo = await DemoPage.open(browser, rivulet.url.replace('localhost', '127.0.0.1'), options);
  await demo.page.getByRole('button', { name: 'Try to break it' }).click();
  const column = (name: string) => demo.page.locator(`[data-lab=${name}]`);
  return {
    demo,
    column,
    press: (fault) => demo.page.locator(`[data-fault=${fault}]`).click(),
    async isExact(name = 'rivulet') {
      const verdict = column(name).locator('.verdict');
      await expect
        .poll(() => verdict.textContent(), { timeout: 20_000 })
        .toMatch(/^Exact: ([\d,]+) of \1 characters\.$/);
    },
  };
}

/** Asks, and waits for the first words. */
async function askFor(lab: Lab, question = QUESTION): Promise<void> {
  await lab.demo.ask(question);
  await grows(lab, 150);
}

async function grows({ demo }: Lab, units: number): Promise<void> {
  const length = async () => (await demo.part('answer-text').textContent())?.length ?? 0;
  await expect.poll(length, { timeout: 15_000 }).toBeGreaterThan(units);
}

const sent = ({ demo }: Lab, event: string) =>
  demo.sent.filter((frame) => frame.includes(`"${event}"`)).length;

describe('the panel that breaks things', () => {
  it('cuts the connection, and the text is exact', async () => {
    const lab = await openLab();
    await askFor(lab);
    await lab.press('cut');
    await lab.demo.reaches('done');
    await lab.isExact();
    expect(sent(lab, 'stream_resume')).toBeGreaterThan(0);
    expect(lab.demo.starts()).toBe(1);
    const timeline = lab.demo.page.locator('[data-lab=timeline] svg');
    expect(await timeline.getAttribute('aria-label')).toMatch(
      /waiting .* text .* gap at .* text at .* end at .*Cut the connection at/,
    );
    expect(await lab.demo.page.locator('[data-lab=cost]').textContent()).toContain(
      'and 0 characters twice',
    );
  });

  it('counts no character twice when an earlier answer was cut and stopped on another connection', async () => {
    const lab = await openLab();
    await askFor(lab);
    await lab.press('cut');
    await expect.poll(() => sent(lab, 'stream_resume'), { timeout: 15_000 }).toBeGreaterThan(0);
    const length = (await lab.demo.part('answer-text').textContent())!.length;
    await grows(lab, length + 50);
    await lab.demo.stop();
    await lab.demo.reaches('cancelled');
    await lab.demo.newChat();
    await askFor(lab);
    await lab.press('offline');
    await lab.demo.page.locator('[data-connection=offline]').waitFor();
    await lab.demo.page.locator('[data-connection=connected]').waitFor({ timeout: 20_000 });
    await lab.demo.reaches('done');
    await lab.isExact();
    expect(await lab.demo.page.locator('[data-lab=cost]').textContent()).toContain(
      'and 0 characters twice',
    );
  });

  it('goes offline for some seconds, and the text is exact', async () => {
    const lab = await openLab();
    await askFor(lab);
    await lab.press('offline');
    await lab.demo.page.locator('[data-connection=offline]').waitFor();
    await lab.demo.page.locator('[data-connection=connected]').waitFor({ timeout: 20_000 });
    await lab.demo.reaches('done');
    await lab.isExact();
    expect(lab.demo.starts()).toBe(1);
  });

  it('slows the link, and the text is exact', async () => {
    const lab = await openLab();
    await askFor(lab);
    await lab.press('slow');
    await lab.demo.page
      .locator('article:last-of-type[data-status=done]')
      .waitFor({ timeout: 40_000 });
    await lab.isExact();
    expect(lab.demo.starts()).toBe(1);
  });

  it.each([
    ['now', 'fail-now'],
    ['after some more text', 'fail-later'],
  ])('fails the provider %s, and all that it generated stays', async (_, fault) => {
    const lab = await openLab();
    await askFor(lab);
    await lab.press(fault);
    await lab.demo.reaches('failed');
    expect((await lab.demo.part('answer-text').textContent())!.length).toBeGreaterThan(150);
    await lab.isExact();
  });

  it('exhausts the rate limit, and the next question is answered by itself', async () => {
    const lab = await openLab();
    await lab.press('rate-limit');
    // Nothing is generated for this question yet.
    const question = 'How do I add Gemini or Ollama?';
    const said = lab.demo.page.locator('[data-lab=said]');
    await expect.poll(() => said.textContent()).toMatch(/refused the next one.* again in [1-5] s/);
    await lab.demo.ask(question);
    const compared = lab.demo.page.waitForResponse(/\/lab\/generated$/);
    await expect.poll(() => lab.demo.status.textContent()).toMatch(/\d s/);
    expect(await (await compared).json()).toEqual({ generated: null });
    await lab.demo.reaches('done');
    await lab.isExact();
    expect(lab.demo.complaints).toEqual([]);
  });

  it('restarts the server; the text so far stays, also after a reload, and the next question is answered', async () => {
    const lab = await openLab();
    await askFor(lab);
    await lab.press('restart');
    await lab.demo.reaches('failed');
    const text = await lab.demo.part('answer-text').textContent();
    expect(text!.length).toBeGreaterThan(100);
    const verdict = lab.column('rivulet').locator('.verdict');
    await expect
      .poll(() => verdict.getAttribute('data-verdict'), { timeout: 15_000 })
      .toMatch(/exact|behind/);
    await lab.demo.page.reload();
    await lab.demo.reaches('failed');
    await lab.demo.shows(text!);
    await lab.demo.ask('What is Rivulet?');
    await lab.demo.reaches('done');
  });

  it('follows an answer that is under way when the page is loaded', async () => {
    const lab = await openLab();
    await askFor(lab);
    await lab.demo.page.reload();
    await lab.demo.page.getByRole('button', { name: 'Try to break it' }).click();
    await lab.demo.reaches('done');
    await lab.isExact();
    const timeline = lab.demo.page.locator('[data-lab=timeline] svg');
    expect(await timeline.getAttribute('aria-label')).not.toContain('gap at');
    expect(lab.demo.complaints).toEqual([]);
  });

  it('opens the answer in a second tab, where it is the same', async () => {
    const lab = await openLab();
    await askFor(lab);
    const opening = lab.demo.page.context().waitForEvent('page');
    await lab.press('second-tab');
    const second = new DemoPage(await opening);
    await Promise.all([lab.demo.reaches('done'), second.reaches('done')]);
    await second.shows((await lab.demo.part('answer-text').textContent())!);
    expect(second.starts()).toBe(0);
    await lab.isExact();
  });

  it('shows plain Socket.IO under the same fault: exact after a cut, and waiting for ever after a restart', async () => {
    const lab = await openLab();
    await lab.demo.page.locator('[data-lab=compare]').check();
    await askFor(lab);
    await lab.press('cut');
    await lab.demo.reaches('done');
    await Promise.all([lab.isExact('rivulet'), lab.isExact('plain')]);

    await lab.demo.ask('How do I create a client?');
    await grows(lab, 150);
    await lab.press('restart');
    await lab.demo.reaches('failed');
    await lab.demo.page.locator('[data-connection=connected]').waitFor({ timeout: 20_000 });
    await expect
      .poll(() => lab.column('plain').locator('.figures').textContent(), { timeout: 10_000 })
      .toMatch(/^Status: streaming\. Longest gap [\d.]+ s so far\.$/);
    const verdict = lab.column('plain').locator('.verdict');
    await expect
      .poll(() => verdict.textContent(), { timeout: 10_000 })
      .toMatch(/^Still waiting: no text for \d+ s /);
    expect(await verdict.getAttribute('data-verdict')).toBe('stranded');
  });

  it('shows no answer of another visitor in the column of plain Socket.IO', async () => {
    const [first, second] = [await openLab(), await openLab()];
    await second.demo.page.locator('[data-lab=compare]').check();
    const verdict = second.column('plain').locator('.verdict');
    await expect.poll(() => verdict.textContent()).toBe('No answer yet.');
    await askFor(first, SHORT_QUESTION);
    await first.demo.reaches('done');
    expect(await verdict.textContent()).toBe('No answer yet.');

    await second.demo.ask('How do I create a client?');
    await second.isExact('plain');
    const tail = second.column('plain').locator('.tail');
    const text = await tail.textContent();
    const figures = second.column('plain').locator('.figures');
    await expect.poll(() => figures.textContent()).toMatch(/^Status: done/);
    await first.demo.newChat();
    await askFor(first, SHORT_QUESTION);
    await first.demo.reaches('done');
    expect(await tail.textContent()).toBe(text);
  });

  it('shows the frames on the wire, the items in the browser and the cache of the server', async () => {
    const lab = await openLab();
    await askFor(lab);
    await lab.demo.page.getByText('Frames on the wire').click();
    const frames = lab.demo.page.locator('[data-lab=frames] li');
    await expect.poll(() => frames.first().textContent()).toMatch(/received .* B: /);
    await lab.demo.reaches('done');
    await lab.demo.page.getByText(STORED, { exact: true }).click();
    const kept = lab.demo.page.locator('[data-lab=caches] li');
    await expect
      .poll(() => kept.allTextContents())
      .toContainEqual(expect.stringMatching(/^answer: /));
    const cached = lab.demo.page.locator('[data-lab=server-cache] li');
    // Its cache is off in these tests.
    await expect.poll(() => cached.allTextContents()).toEqual(['Nothing is stored.']);
  });

  it.each([
    ['a phone', 'light', { width: 390, height: 844 }],
    ['a tablet', 'dark', { width: 768, height: 1024 }],
    ['a desktop', 'dark', { width: 1440, height: 900 }],
  ] as const)(
    'has no finding of axe-core on %s in %s, and covers no part of the page',
    async (_, colorScheme, viewport) => {
      const lab = await openLab({ colorScheme, viewport });
      const { demo } = lab;
      await demo.page.locator('[data-lab=compare]').check();
      await demo.page.getByText('Frames on the wire').click();
      await demo.page.getByText(STORED, { exact: true }).click();
      await askFor(lab, SHORT_QUESTION);
      await lab.press('cut');
      await lab.isExact();
      expect(await demo.findings()).toEqual([]);
      const [main, panel] = await Promise.all(
        ['main', '#lab'].map((part) => demo.page.locator(part).boundingBox()),
      );
      const isBeside = panel!.x >= main!.x + main!.width;
      expect(isBeside || panel!.y >= main!.y + main!.height).toBe(true);
      expect(panel!.x + panel!.width).toBeLessThanOrEqual(viewport.width);
      expect(panel!.y + panel!.height).toBeLessThanOrEqual(viewport.height);
    },
  );
});

describe('the showcase', () => {
  it('streams where there is no model, and says that no language model wrote it', async () => {
    const lab = await openLab();
    await lab.demo.ask('Show me an answer with code, a table and a formula');
    await grows(lab, 60);
    expect(await lab.demo.part('answer-text').textContent()).toContain(
      'No language model wrote this',
    );
    const text = lab.demo.part('answer-text');
    await text.locator('.hljs-keyword').first().waitFor();
    await text.locator('.katex-display').waitFor();
    await text.locator('table').waitFor();
    await text.locator('copy-code').first().getByRole('button', { name: 'Copy code' }).waitFor();
    expect(lab.demo.complaints).toEqual([]);
  });
});
