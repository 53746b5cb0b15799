import { readFile } from 'node:fs/promises';
import type { ServerOptions } from '@rivulet/server';
import { ProviderError } from '@rivulet/server';
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../harness/chromium.js';
import { type DemoPage, stagedDemo } from '../harness/demo.js';
import { providerConfigOf } from '../harness/providers.js';
import { type Call, stage } from '../harness/stage.js';
import { answer as say, runs } from '../harness/tools.js';

let browser: Browser;
beforeAll(async () => void (browser = await launchChromium()));
afterAll(() => browser.close());

const articles = (demo: DemoPage) => demo.page.locator('article').count();

/** A first question, and the call that answers it. */
async function asked(options?: Parameters<typeof stagedDemo>[1]) {
  const staged = await stagedDemo(browser, options);
  await staged.demo.ask('What is a delta?');
  return { ...staged, call: await staged.nextCall() };
}

/** @param shown the part of `text` that the page shows. */
async function isDone(
  demo: DemoPage,
  call: Call,
  text: string,
  shown: string = text,
): Promise<void> {
  say(call, text);
  await demo.reaches('done');
  await demo.shows(shown);
}

describe('an answer', () => {
  it('is regenerated in its place, and its versions are paged by keyboard', async () => {
    const { demo, call, nextCall } = await asked();
    await isDone(demo, call, 'First.');
    await demo.part('regenerate').focus();
    await demo.page.keyboard.press('Enter');
    await isDone(demo, await nextCall(), 'Second.');
    expect(await articles(demo)).toBe(1);
    expect(await demo.part('version').textContent()).toBe('2 / 2');
    await demo.part('version-before').focus();
    await demo.page.keyboard.press('Enter');
    await demo.shows('First.');
    await demo.hasStoredSelection('First.');
    // The focus stays on the button, though the version has an element of its own.
    const focused = () =>
      demo.page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset['testid']);
    expect(await focused()).toBe('version-before');
    expect(await demo.part('version-before').getAttribute('aria-disabled')).toBe('true');
    await demo.part('version-after').click();
    await demo.shows('Second.');
    await demo.hasStoredSelection('Second.');
    await demo.page.reload();
    await demo.shows('Second.');
    expect(await demo.part('version').textContent()).toBe('2 / 2');
    expect(demo.complaints).toEqual([]);
  });

  it('is asked again when its question is edited in place, and the other branch stays', async () => {
    const { demo, call, nextCall } = await asked();
    await isDone(demo, call, 'Where a river ends.');
    await demo.ask('And an estuary?');
    await isDone(demo, await nextCall(), 'A drowned valley.');
    const first = demo.page.locator('.question').first();
    await first.getByTestId('edit').focus();
    await demo.page.keyboard.press('Enter');
    await demo.page.getByTestId('edit-field').fill('What is a fjord?');
    await demo.page.getByTestId('edit-field').press('Enter');
    const call3 = await nextCall();
    expect(call3.prompt.messages).toHaveLength(1);
    await isDone(demo, call3, 'A flooded glacial valley.');
    expect(await articles(demo)).toBe(1);
    await first.getByTestId('version-before').click();
    await expect.poll(() => articles(demo)).toBe(2);
    await demo.shows('A drowned valley.');
  });

  it('is copied as the model wrote it', async () => {
    const { demo, call } = await asked();
    await demo.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    const text = '**Where** a `river` ends.\n\n- one\n- two';
    say(call, text);
    await demo.reaches('done');
    await demo.part('copy').click();
    await expect.poll(() => demo.part('copy').getAttribute('aria-label')).toBe('Copied');
    expect(await demo.page.evaluate(() => navigator.clipboard.readText())).toBe(text);
  });

  it.each([
    ['on hover and focus', {}, '0'],
    ['always on a touch screen', { hasTouch: true, isMobile: true }, '1'],
  ])('has a copy button in the corner of its code: %s', async (_, device, resting) => {
    const { demo, call } = await asked(device);
    await isDone(demo, call, '```ts\nconst a = 1;\n```', 'const a = 1;\n');
    const block = demo.part('answer-text').locator('.code');
    const copy = block.locator('copy-code');
    const opacity = () => copy.evaluate((element) => getComputedStyle(element).opacity);
    await demo.page.mouse.move(0, 0);
    await expect.poll(opacity).toBe(resting);
    await block.hover();
    await expect.poll(opacity).toBe('1');
    await demo.page.mouse.move(0, 0);
    await expect.poll(opacity).toBe(resting);
    await copy.getByRole('button').focus();
    await expect.poll(opacity).toBe('1');
    const [outer, inner] = [(await block.boundingBox())!, (await copy.boundingBox())!];
    expect(inner.y - outer.y).toBeLessThan(12);
    expect(outer.x + outer.width - inner.x - inner.width).toBeLessThan(12);
  });

  it('says which model gave it, why, how fast and from where', async () => {
    const first = stage('gemini');
    const second = stage('ollama');
    const providers: ServerOptions['providers'] = [
      providerConfigOf(first.provider),
      providerConfigOf(second.provider),
    ];
    const { demo } = await stagedDemo(browser, { server: { providers } });
    await demo.ask('What is a delta?');
    const failing = await first.nextCall();
    failing.say('Half an answer');
    await demo.shows('Half an answer');
    failing.fail(new ProviderError('unavailable', 'no'));
    const call = await second.nextCall();
    call.say('Where a river ');
    await demo.reaches('streaming');
    await demo.shows('Where a river');
    expect(await demo.part('badge').textContent()).toBe('live');
    await demo.page.waitForTimeout(100);
    call.say('ends.');
    call.finish('stop', undefined, { input_tokens: 9, output_tokens: 120 });
    await demo.reaches('done');
    expect(await demo.part('badge').isVisible()).toBe(false);
    expect(await demo.part('model').textContent()).toBe('ollama · script');
    expect(await demo.part('note').textContent()).toMatch(
      /^The answer began again from ollama: .+/,
    );
    const figures = await demo.part('figures').textContent();
    expect(figures).toMatch(/first text [\d.]+ m?s/);
    expect(figures).toMatch(/total [\d.]+ m?s/);
    expect(figures).toMatch(/120 tokens/);
    expect(figures).toMatch(/\d tokens\/s/);
    expect(await demo.part('ending').textContent()).toBe('Complete');
  });

  it('has its thoughts collapsed, and its tools in words', async () => {
    const tools = [runs('height', () => 9)];
    const { demo, call, nextCall } = await asked({ server: { tools } });
    call.think('A delta is where the river slows down.');
    await expect.poll(() => demo.status.textContent()).toMatch(/^Thinking/);
    const thoughts = demo.part('thoughts');
    await expect.poll(() => thoughts.isVisible()).toBe(true);
    expect(await thoughts.locator('.thoughts-text').isVisible()).toBe(false);
    await thoughts.locator('summary').focus();
    await demo.page.keyboard.press('Enter');
    await expect.poll(() => thoughts.locator('.thoughts-text').isVisible()).toBe(true);
    call.callTool('height', { of: 'it' });
    call.finish();
    await isDone(demo, await nextCall(), 'It is 9 m.');
    expect(await demo.part('tools').textContent()).toBe('Used height');
    // The thoughts that the visitor opened stay open.
    expect(await thoughts.locator('.thoughts-text').textContent()).toContain('slows down');
    expect(await thoughts.locator('.thoughts-text').isVisible()).toBe(true);
  });
});

describe('a call that needs approval', () => {
  it.each([
    ['allow', 'Used delete_file', [{ of: 'delta.md' }]],
    ['refuse', 'Refused delete_file', []],
  ])('shows its arguments and waits for the visitor: %s', async (choice, words, ran) => {
    const { demo, nextCall, deleted } = await askedToDelete();
    expect(await demo.part('tools').locator('pre').textContent()).toBe('{\n  "of": "delta.md"\n}');
    await expect
      .poll(() => demo.status.textContent())
      .toMatch(/^Waiting for your decision: delete_file needs your approval/);
    expect(deleted).toEqual([]);
    await demo.part(choice).focus();
    await demo.page.keyboard.press('Enter');
    await isDone(demo, await nextCall(), 'So be it.');
    expect(deleted).toEqual(ran);
    expect(await demo.part('tools').textContent()).toBe(words);
    expect(demo.complaints).toEqual([]);
  });

  it('can be decided after a reload', async () => {
    const { demo, nextCall, deleted } = await askedToDelete();
    await demo.page.reload();
    await demo.part('allow').click();
    await isDone(demo, await nextCall(), 'Gone.');
    expect(deleted).toEqual([{ of: 'delta.md' }]);
  });

  it('has no buttons once nobody decided in time', async () => {
    const { demo, call, nextCall } = await asked({
      server: { tools: [deleting().tool], limits: { toolReplyTimeoutMs: 1 } },
    });
    call.callTool('delete_file', { of: 'delta.md' });
    call.finish();
    await isDone(demo, await nextCall(), 'Nothing was deleted.');
    expect(await demo.part('tools').textContent()).toBe(
      'delete_file was not approved, and did not run',
    );
  });

  it('has no buttons once its answer has ended', async () => {
    const { demo, deleted } = await askedToDelete();
    await demo.stop();
    await demo.reaches('cancelled');
    expect(await demo.part('tools').textContent()).toBe(
      'delete_file was not approved, and did not run',
    );
    expect(deleted).toEqual([]);
  });
});

/** A tool that needs approval; `deleted` has the argument of each run. */
function deleting() {
  const deleted: { of: string }[] = [];
  const tool = runs('delete_file', (args) => void deleted.push(args), { needsApproval: true });
  return { tool, deleted };
}

/** A question whose answer waits for the visitor's approval. */
async function askedToDelete() {
  const { tool, deleted } = deleting();
  const { demo, call, nextCall } = await asked({ server: { tools: [tool] } });
  call.callTool('delete_file', { of: 'delta.md' });
  call.finish();
  await demo.part('allow').waitFor();
  return { demo, nextCall, deleted };
}

describe('every ending', () => {
  it('by Stop says so and offers to continue; the continuation joins exactly', async () => {
    const { demo, call, nextCall } = await asked();
    call.say('Where a riv');
    await demo.shows('Where a riv');
    await demo.page.keyboard.press('Escape');
    await demo.reaches('cancelled');
    expect(await demo.part('ending').textContent()).toBe('Stopped before its end');
    await demo.part('continue').click();
    await isDone(demo, await nextCall(), 'er ends.', 'Where a river ends.');
    expect(await articles(demo)).toBe(1);
    expect(await demo.part('continue').isVisible()).toBe(false);
  });

  it('by the length limit says so and offers to continue', async () => {
    const { demo, call, nextCall } = await asked();
    call.say('Where a riv');
    call.finish('length', undefined, { output_tokens: 3 });
    await demo.reaches('done');
    expect(await demo.part('ending').textContent()).toBe(
      'Incomplete: it reached the length limit of 3 tokens',
    );
    await demo.part('continue').click();
    await isDone(demo, await nextCall(), 'er ends.', 'Where a river ends.');
    expect(await demo.part('ending').textContent()).toBe('Complete');
  });

  it('without any text says so and offers to try again', async () => {
    const { demo, call, nextCall } = await asked();
    await demo.stop();
    await call.aborted;
    await demo.reaches('cancelled');
    expect(await demo.part('ending').textContent()).toBe('Stopped before the first word');
    expect(await demo.part('continue').isVisible()).toBe(false);
    await demo.part('retry').click();
    await isDone(demo, await nextCall(), 'Where a river ends.');
    expect(await articles(demo)).toBe(1);
  });

  it('by an error keeps the text, says in plain words what to do, and offers both', async () => {
    const { demo, call, nextCall } = await asked();
    call.say('Where a riv');
    await demo.shows('Where a riv');
    call.fail(new ProviderError('unavailable', 'upstream said no'));
    await demo.reaches('failed');
    expect(await demo.part('error').textContent()).toMatch(/Try again|try again/);
    expect(await demo.part('error').textContent()).not.toContain('upstream');
    expect(await demo.part('ending').textContent()).toBe('Ended with an error');
    expect(await demo.part('continue').isVisible()).toBe(true);
    await demo.part('retry').click();
    await isDone(demo, await nextCall(), 'Where a river ends.');
    expect(await demo.part('version').textContent()).toBe('2 / 2');
  });

  it('by a refusal of the provider offers to change the question', async () => {
    const { demo, call } = await asked();
    call.fail(new ProviderError('content_filter', 'no'));
    await demo.reaches('failed');
    expect(await demo.part('error').textContent()).toMatch(/other words/);
    expect(await demo.part('retry').isVisible()).toBe(false);
    await demo.part('rephrase').click();
    expect(await demo.page.getByTestId('edit-field').inputValue()).toBe('What is a delta?');
  });

  it('by a server that went away keeps the text, also after a reload, and offers to continue', async () => {
    const { demo, call, nextCall, restart } = await asked();
    call.say('Where a riv');
    await demo.shows('Where a riv');
    await restart();
    await demo.reaches('failed');
    expect(await demo.part('ending').textContent()).toBe('Interrupted: the server stopped');
    expect(await demo.part('error').textContent()).toMatch(/continue or try again/);
    await demo.page.reload();
    await demo.reaches('failed');
    await demo.shows('Where a riv');
    expect(await demo.part('ending').textContent()).toBe('Interrupted: the server stopped');
    await demo.part('continue').click();
    await isDone(demo, await nextCall(), 'er ends.', 'Where a river ends.');
  });
});

describe('a chat', () => {
  it('is saved as Markdown, with the text of answers as it is', async () => {
    const { demo, call, nextCall } = await asked();
    say(call, '**Where** a river ends.');
    await demo.reaches('done');
    await demo.ask('And an\nestuary?');
    const second = await nextCall();
    second.say('A drowned');
    await demo.shows('A drowned');
    await demo.stop();
    await demo.reaches('cancelled');
    const [download] = await Promise.all([
      demo.page.waitForEvent('download'),
      demo.page.getByRole('button', { name: 'Save the chat as Markdown' }).click(),
    ]);
    expect(download.suggestedFilename()).toBe('What-is-a-delta.md');
    expect(await readFile(await download.path(), 'utf8')).toBe(
      [
        '# What is a delta?',
        '**You**',
        '> What is a delta?',
        '**Answer** (stage · script)',
        '**Where** a river ends.',
        '**You**',
        '> And an\n> estuary?',
        '**Answer** (stage · script)',
        'A drowned',
        '*Stopped before its end.*\n',
      ].join('\n\n'),
    );
    expect(demo.complaints).toEqual([]);
  });

  it('follows the newest text until the reader scrolls up, and a button jumps down', async () => {
    const { demo, call } = await asked({ viewport: { width: 1024, height: 500 } });
    const paragraphs = (count: number) => 'A paragraph of the answer.\n\n'.repeat(count);
    const reading = demo.page.locator('#reading');
    const fromBottom = () =>
      reading.evaluate((box) => Math.round(box.scrollHeight - box.scrollTop - box.clientHeight));
    call.say(paragraphs(30));
    await expect.poll(() => demo.part('answer-text').locator('p').count()).toBe(30);
    await expect.poll(fromBottom).toBe(0);
    await reading.hover();
    await demo.page.mouse.wheel(0, -300);
    await expect.poll(fromBottom).toBeGreaterThan(200);
    const jump = demo.page.locator('#jump');
    await expect.poll(() => jump.isVisible()).toBe(true);
    const top = await reading.evaluate((box) => box.scrollTop);
    call.say(paragraphs(10));
    await expect.poll(() => demo.part('answer-text').locator('p').count()).toBe(40);
    expect(await reading.evaluate((box) => box.scrollTop)).toBe(top);
    await jump.click();
    await expect.poll(fromBottom).toBe(0);
    expect(await jump.isVisible()).toBe(false);
    call.say(paragraphs(10));
    await expect.poll(() => demo.part('answer-text').locator('p').count()).toBe(50);
    await expect.poll(fromBottom).toBe(0);
    expect(await demo.page.evaluate(() => [scrollY, document.documentElement.scrollTop])).toEqual([
      0, 0,
    ]);
  });
});
