import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Child } from '../harness/child.js';
import { launchChromium } from '../harness/chromium.js';
import { DemoPage, npmStart } from '../harness/demo.js';
import { ExamplePage } from '../harness/example.js';
import { startFake } from '../harness/fakes.js';

let browser: Browser;
let rivulet: Child & { url: string };

beforeAll(async () => {
  [browser, rivulet] = await Promise.all([launchChromium(), npmStart({ LLM_MODE: 'docs' })]);
});
afterAll(async () => {
  await Promise.all([browser.close(), rivulet.stop()]);
});

const QUESTION = 'What is Rivulet?';

describe('the page that `npm start` serves', () => {
  it('shows an answer growing, with its source and times at the end', async () => {
    const demo = await DemoPage.open(browser, rivulet.url);
    await demo.ask(QUESTION);
    const lengths = await demo.growth();
    expect(lengths.filter((length) => length > 0).length).toBeGreaterThanOrEqual(3);
    expect(lengths).toEqual([...lengths].sort((a, b) => a - b));

    await demo.reaches('done');
    await expect.poll(() => demo.part('badge').getAttribute('data-source')).toBe('model');
    expect(await demo.part('badge').textContent()).toBe('');
    expect(await demo.part('model').textContent()).toBe('docs · documentation');
    expect(await demo.part('figures').textContent()).toMatch(/first text \d+ ms.*total [\d.]+ s/);
    expect(await demo.part('answer-text').locator('strong').count()).toBeGreaterThan(0);
    expect(await demo.send.getAttribute('data-mode')).toBe('send');
    expect(demo.starts()).toBe(1);
    expect(demo.complaints).toEqual([]);
  });

  it('answers the same question again from the browser, with no `stream_start` on the wire', async () => {
    const demo = await DemoPage.open(browser, rivulet.url);
    await demo.ask(QUESTION);
    await demo.reaches('done');
    const text = await demo.part('answer-text').textContent();

    await demo.newChat();
    await demo.ask(QUESTION);
    await demo.reaches('done');
    expect(await demo.part('badge').getAttribute('data-source')).toBe('browser-cache');
    expect(await demo.part('badge').textContent()).toBe('browser cache');
    expect(await demo.part('answer-text').textContent()).toBe(text);
    expect(demo.starts()).toBe(1);

    await demo.newChat();
    await demo.page.reload();
    await demo.ask(QUESTION);
    await demo.reaches('done');
    expect(await demo.part('badge').getAttribute('data-source')).toBe('browser-cache');
    expect(demo.starts()).toBe(1);
    expect(demo.complaints).toEqual([]);
  });

  it('says when it was the server’s cache that answered', async () => {
    const demo = await DemoPage.open(browser, rivulet.url);
    await demo.ask(QUESTION);
    await demo.reaches('done');
    await demo.page.getByRole('button', { name: 'Clear what this browser keeps' }).click();
    await demo.page.getByRole('button', { name: 'Clear', exact: true }).click();
    await demo.page.locator('#welcome').waitFor();
    await expect.poll(() => demo.page.getByTestId('chat').count()).toBe(0);
    await demo.ask(QUESTION);
    await demo.reaches('done');
    expect(await demo.part('badge').getAttribute('data-source')).toBe('server-cache');
    expect(demo.starts()).toBe(2);
  });

  it('stops in the middle, keeps what came and marks it as stopped', async () => {
    const demo = await DemoPage.open(browser, rivulet.url);
    await demo.ask('How do I create a client?');
    await expect
      .poll(async () => (await demo.part('answer-text').textContent())?.length)
      .toBeGreaterThan(20);
    await demo.stop();
    await demo.reaches('cancelled');
    const kept = await demo.part('answer-text').textContent();
    expect(kept!.length).toBeGreaterThan(20);
    expect(kept).not.toContain('not a language model');
    expect(await demo.part('ending').textContent()).toBe('Stopped before its end');
    expect(demo.sent.some((frame) => frame.includes('"stream_cancel"'))).toBe(true);

    // The answer stays stopped: the next one comes, and this one has not grown.
    await demo.ask(QUESTION);
    await demo.reaches('done');
    const first = demo.page.locator('article').first();
    expect(await first.getByTestId('answer-text').textContent()).toBe(kept);
    expect(demo.complaints).toEqual([]);
  });

  it('shows again what was on its way when the page is reloaded, and goes on', async () => {
    const demo = await DemoPage.open(browser, rivulet.url);
    await demo.ask('What happens to an answer when the connection drops?');
    await expect
      .poll(async () => (await demo.part('answer-text').textContent())?.length)
      .toBeGreaterThan(40);
    await demo.page.reload();
    await demo.reaches('done');
    expect(await demo.page.locator('article').count()).toBe(1);
    expect(await demo.question.textContent()).toContain('when the connection drops?');
    expect(await demo.part('answer-text').textContent()).toContain('not a language model');
    expect(demo.starts()).toBe(1);
    expect(demo.complaints).toEqual([]);
  });

  it('shows in a second tab what was asked in the first', async () => {
    const demo = await DemoPage.open(browser, rivulet.url);
    await demo.ask('How do I use OpenAI-compatible servers?');
    await demo.reaches('streaming');
    const second = await demo.secondTab();
    await second.reaches('streaming');
    await demo.reaches('done');
    await second.reaches('done');
    const text = await demo.part('answer-text').textContent();
    expect(await second.part('answer-text').textContent()).toBe(text);
    expect(second.starts()).toBe(0);
  });

  it('goes on where it was when its connection breaks in the middle', async () => {
    // Engine.IO takes no notice of a network that is away where the host is called localhost.
    const demo = await DemoPage.open(browser, rivulet.url.replace('localhost', '127.0.0.1'));
    await demo.ask('How do I create a client?');
    await expect
      .poll(async () => (await demo.part('answer-text').textContent())?.length)
      .toBeGreaterThan(20);
    // Vite's own socket is of no interest; ours is the one at /socket.io.
    const cdp = await demo.page.context().newCDPSession(demo.page);
    await cdp.send('Network.enable');
    await cdp.send('Network.emulateNetworkConditions', {
      offline: true,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: -1,
    });
    await demo.page.evaluate(() => dispatchEvent(new Event('offline')));
    await cdp.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: -1,
    });
    await demo.reaches('done');
    expect(await demo.part('answer-text').textContent()).toContain('not a language model');
    expect(demo.sent.filter((frame) => frame.startsWith('40')).length).toBeGreaterThan(1);
    expect(demo.sent.filter((frame) => frame.includes('"stream_resume"'))).toHaveLength(1);
    expect(demo.starts()).toBe(1);
  });

  it.each(['light', 'dark'] as const)('fits a phone, in %s', async (colorScheme) => {
    const demo = await DemoPage.open(browser, rivulet.url, {
      colorScheme,
      viewport: { width: 390, height: 844 },
      hasTouch: true,
      isMobile: true,
    });
    const overflow = (): Promise<number> =>
      demo.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(await overflow()).toBe(0);
    await demo.ask('How do I create a client?');
    await demo.reaches('done');
    expect(await demo.part('answer-text').locator('pre').count()).toBeGreaterThan(0);
    expect(await overflow()).toBe(0);
  });
});

describe('the example that `npm start` serves', () => {
  it.each(['react', 'vue', 'svelte', 'angular', 'solid'])('in %s answers', async (name) => {
    const context = await browser.newContext();
    onTestFinished(() => context.close());
    const example = new ExamplePage(await context.newPage());
    await example.page.goto(`${rivulet.url}/examples/${name}/`);
    await example.ask(QUESTION);
    expect(await example.reaches('done')).toContain('not a language model');
    expect(example.complaints).toEqual([]);
  });
});

describe('a visitor who asks too often', () => {
  it('is told how long it takes, and is answered then', async () => {
    const limited = await npmStart({
      LLM_MODE: 'docs',
      RATE_LIMIT_REQUESTS: '1',
      RATE_LIMIT_WINDOW_SECONDS: '12',
    });
    onTestFinished(async () => void (await limited.stop()));
    const demo = await DemoPage.open(browser, limited.url);
    await demo.ask(QUESTION);
    await demo.reaches('streaming');
    await demo.newChat();
    await demo.ask('How do I create a client?');
    await expect
      .poll(() => demo.status.textContent())
      .toMatch(/Too many questions .* sent automatically.*in \d+ s/);
    await demo.reaches('done');
    expect(demo.complaints).toEqual([]);
  });
});

/** The demo with a fake Ollama as its only model. */
async function startLocal() {
  const fake = await startFake('ollama');
  const local = await npmStart({
    LLM_MODE: 'local',
    OLLAMA_HOST: fake.url,
    OLLAMA_MODEL: 'llama3.2',
    LOG_LEVEL: 'silent',
  });
  return { fake, local };
}

describe('a model that is being loaded', () => {
  it('is named until it is loaded, and answers then', async () => {
    const { fake, local } = await startLocal();
    await fake.tell('/_fake/load', { hold: true });
    try {
      const demo = await DemoPage.open(browser, local.url);
      await demo.ask('What is a delta?');
      await demo.reaches('loading');
      await expect.poll(() => demo.status.textContent()).toMatch(/^Loading llama3.2 into memory/);
      const shown = await demo.status.boundingBox();
      expect(shown!.width).toBeGreaterThan(50);
      await fake.tell('/_fake/load', { hold: false });
      await demo.reaches('done');
      expect(demo.complaints).toEqual([]);
    } finally {
      await Promise.all([local.stop(), fake.stop()]);
    }
  });
});

describe('a model that fails', () => {
  it('leaves the text so far, a plain word on what happened, and a way to try again', async () => {
    const { fake, local } = await startLocal();
    try {
      const demo = await DemoPage.open(browser, local.url);
      await demo.ask('cut off the answer in the middle, please');
      await demo.reaches('failed');
      const kept = await demo.part('answer-text').textContent();
      expect(kept!.length).toBeGreaterThan(0);
      expect(await demo.part('error').textContent()).toMatch(/\w+ \w+/);
      expect(demo.starts()).toBe(1);
      await demo.part('retry').click();
      await expect.poll(() => demo.starts()).toBe(2);
      await demo.reaches('failed');
      expect(demo.complaints).toEqual([]);
    } finally {
      await Promise.all([local.stop(), fake.stop()]);
    }
  });
});

describe('`npm start`', () => {
  it('prints one URL, and ends with its page, its server and every process on Ctrl-C', async () => {
    const child = await npmStart({ LLM_MODE: 'docs', DRAIN_SECONDS: '1' });
    expect(child.output().match(/https?:\/\//g)).toHaveLength(1);
    const demo = await DemoPage.open(browser, child.url);
    await demo.ask('How do I create a client?');
    const text = () => demo.part('answer-text').textContent();
    await expect.poll(text).not.toBe('');
    // npm passes on the signal that ended it; SIGKILL would mean that it did not end by itself.
    expect(await child.stop('SIGINT')).toBe('SIGINT');
    expect(() => process.kill(-child.pid, 0)).toThrow(/ESRCH/);
    // The text that this browser keeps stays on the page without the server.
    expect(await text()).not.toBe('');
  });
});
