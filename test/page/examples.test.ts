import { ProviderError, questionOf } from '@rivulet/server';
import type { Browser } from 'playwright';
import { interval, lastValueFrom, map, take, tap } from 'rxjs';
import type { ViteDevServer } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPages } from '../../demo/pages.js';
import { launchChromium } from '../harness/chromium.js';
import { openExample } from '../harness/example.js';

let browser: Browser;
let vite: ViteDevServer;

beforeAll(async () => {
  [browser, vite] = await Promise.all([launchChromium(), createPages()]);
});
afterAll(async () => {
  await Promise.all([browser.close(), vite.close()]);
});

describe.each(['react', 'vue', 'svelte', 'angular', 'solid'])('a view in %s', (name) => {
  it('is idle until it is asked, and shows the answer as it comes', async () => {
    const { example, calls, nextCall } = await openExample(browser, vite, name);
    expect(await example.reaches('idle')).toBe('');
    await example.ask('What is a delta?');
    await example.reaches('waiting');
    const call = await nextCall();
    expect(questionOf(call.prompt)).toBe('What is a delta?');
    call.say('Where a river');
    await example.shows('Where a river');
    call.say(' ends.');
    call.finish();
    expect(await example.reaches('done')).toBe('Where a river ends.');
    expect(calls).toHaveLength(1);
    expect(example.complaints).toEqual([]);
  });

  it('stops the model, and keeps the text; asks the same again', async () => {
    const { example, nextCall } = await openExample(browser, vite, name);
    await example.press('Retry');
    await example.press('Stop');
    await example.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await example.shows('Where a');
    await example.press('Stop');
    await call.aborted;
    expect(await example.reaches('cancelled')).toBe('Where a');

    await example.press('Retry');
    const again = await nextCall();
    expect(questionOf(again.prompt)).toBe('What is a delta?');
    again.say('It ends.');
    again.finish();
    expect(await example.reaches('done')).toBe('It ends.');
    expect(example.complaints).toEqual([]);
  });

  it('shows a failure beside the text so far', async () => {
    const { example, nextCall } = await openExample(browser, vite, name);
    await example.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await example.shows('Where a');
    call.fail(new ProviderError('unavailable', 'unable to go on: cut'));
    expect(await example.reaches('failed')).toBe('Where a');
    expect(await example.page.getByRole('alert').textContent()).toContain('cut');
    expect(example.complaints).toEqual([]);
  });

  it('keeps the answer when it is unmounted in the middle, and has it from the browser then', async () => {
    const limits = { detachTimeoutMs: 0 };
    const { example, calls, nextCall } = await openExample(browser, vite, name, { limits });
    await example.ask('What is a delta?');
    const call = await nextCall();
    call.say('Where a');
    await example.shows('Where a');
    await example.press('Close');
    call.say(' river ends.');
    call.finish();

    await example.press('Open');
    expect(await example.reaches('idle')).toBe('');
    await example.ask('What is a delta?');
    expect(await example.reaches('done')).toBe('Where a river ends.');
    expect(calls).toHaveLength(1);
    expect(example.complaints).toEqual([]);
  });

  it('leaves the answer when it asks the next question', async () => {
    const limits = { detachTimeoutMs: 10 };
    const { example, nextCall } = await openExample(browser, vite, name, { limits });
    await example.ask('What is a delta?');
    const first = await nextCall();
    first.say('Where a');
    await example.shows('Where a');
    await example.ask('What is an estuary?');
    const second = await nextCall();
    await first.aborted;
    second.say('A mouth.');
    second.finish();
    expect(await example.reaches('done')).toBe('A mouth.');
  });

  it('draws 200 chunks a second no more than once a frame', async () => {
    const { example, nextCall } = await openExample(browser, vite, name);
    await example.ask('What is a delta?');
    const call = await nextCall();
    call.say('. ');
    await example.reaches('streaming');
    const drawings = example.drawings();
    const words = interval(5).pipe(
      take(200),
      map((i) => `${i} `),
      tap((word) => call.say(word)),
    );
    await lastValueFrom(words);
    call.finish();
    const { drawn, frames, elapsedMs } = await drawings;
    expect(await example.output.textContent()).toMatch(/^\. 0 1 2 .* 198 199 $/);
    expect(drawn).toBeGreaterThan(1);
    // The end does not wait for a frame. Text that has waited for 100 ms does not either.
    expect(drawn).toBeLessThanOrEqual(frames + elapsedMs / 100 + 2);
  });
});
