import { getEventListeners } from 'node:events';
import { ProviderError } from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { answer, ask, queryOf } from '../harness/ask.js';
import { ownClock, settled } from '../harness/clock.js';
import { providerConfigOf } from '../harness/providers.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { type Call, stage } from '../harness/stage.js';

/** A provider that answers so many at a time. */
function limited(concurrency: number, options: Parameters<typeof serviceOf>[1] = {}) {
  const { provider, ...played } = stage('model');
  const llm = serviceOf(provider, {
    providers: [providerConfigOf(provider, { concurrency })],
    ...options,
  });
  return { llm, ...played };
}

ownClock();

describe('more requests than a provider answers at a time', () => {
  it('wait, and hear how many are ahead, again each time that changes', async () => {
    const { llm, nextCall, calls } = limited(1);
    const [a, b, c] = [ask(llm, 'a'), ask(llm, 'b'), ask(llm, 'c')];
    await settled();
    expect([a.places, b.places, c.places]).toEqual([[], [1], [2]]);
    expect(llm.providerStatus()).toMatchObject([{ running: 1, waiting: 2 }]);
    for (const _ of [a, b, c]) {
      answer(await nextCall());
      await settled();
    }
    expect([a.places, b.places, c.places]).toEqual([[], [1, 0], [2, 1, 0]]);
    const texts = await Promise.all([a, b, c].map(async ({ ended }) => textOf(await ended)));
    expect(texts).toEqual(['a', 'b', 'c']);
    expect(calls.map(queryOf)).toEqual(['a', 'b', 'c']);
    expect(llm.providerStatus()).toMatchObject([{ running: 0, waiting: 0 }]);
  });

  it('are a hundred, and are all answered in the order they came, never too many at once', async () => {
    const { llm, nextCall, calls } = limited(8);
    const all = Array.from({ length: 100 }, (_, i) => ask(llm, `${i}`));
    let most = 0;
    for (const _ of all) {
      most = Math.max(most, llm.providerStatus()[0]!.running);
      answer(await nextCall());
    }
    const texts = await Promise.all(all.map(async ({ ended }) => textOf(await ended)));
    expect(texts).toEqual(all.map((_, i) => `${i}`));
    expect(calls.map(queryOf)).toEqual(all.map((_, i) => `${i}`));
    expect(most).toBe(8);
  });

  it('do not wait for an answer that the cache has', async () => {
    const { llm, nextCall } = limited(1);
    const first = ask(llm, 'known');
    answer(await nextCall());
    await first.ended;
    const busy = ask(llm, 'another');
    const call = await nextCall();
    expect(textOf(await ask(llm, 'known').ended)).toBe('known');
    answer(call);
    await busy.ended;
  });

  it('move up at once when one before them is cancelled', async () => {
    const { llm, nextCall } = limited(1);
    const [a, b, c, d] = [ask(llm, 'a'), ask(llm, 'b'), ask(llm, 'c'), ask(llm, 'd')];
    await settled();
    b.cancel();
    expect((await b.ended).at(-1)).toMatchObject({ code: 'cancelled' });
    await settled();
    expect([c.places, d.places]).toEqual([
      [2, 1],
      [3, 2],
    ]);
    a.cancel();
    const next = await nextCall().then(() => nextCall());
    expect(queryOf(next)).toBe('c');
    answer(next);
    answer(await nextCall());
    await Promise.all([a.ended, c.ended, d.ended]);
  });

  it.each([
    ['fails', (call: Call) => call.fail(new ProviderError('unavailable', 'unable to'))],
    ['has a bug', (call: Call) => call.fail(new TypeError('undefined'))],
    ['is too long', (call: Call) => call.say('x'.repeat(20_000))],
  ])('go on when the answer before them %s', async (_, end) => {
    const { llm, nextCall } = limited(1);
    const [a, b] = [ask(llm), ask(llm, 'b')];
    end(await nextCall());
    await a.ended;
    answer(await nextCall());
    expect(textOf(await b.ended)).toBe('b');
  });

  it('go on when who reads the answer before them leaves the loop', async () => {
    const { llm, nextCall } = limited(1);
    const stream = llm.generateResponseStream({ query: 'a' });
    const first = stream.next();
    (await nextCall()).say('Par');
    await first;
    const b = ask(llm, 'b');
    await settled();
    await stream.return();
    answer(await nextCall());
    expect(textOf(await b.ended)).toBe('b');
  });

  it('do not use up the time for the first text by waiting', async () => {
    const { provider, nextCall } = stage('model');
    const deadlines = { firstChunkMs: 1_000, stallMs: 1_000, totalMs: 10_000 };
    const llm = serviceOf(provider, {
      providers: [providerConfigOf(provider, { concurrency: 1, deadlines })],
    });
    const [a, b] = [ask(llm, 'a'), ask(llm, 'b')];
    const first = await nextCall();
    for (let second = 0; second < 9; second++) {
      await vi.advanceTimersByTimeAsync(900);
      first.say('.');
      await settled();
    }
    first.finish();
    await a.ended;
    const call = await nextCall();
    await vi.advanceTimersByTimeAsync(900);
    answer(call);
    expect(textOf(await b.ended)).toBe('b');
  });

  it('leave when the breaker opens, each with its reason', async () => {
    const { llm, nextCall, calls } = limited(5);
    const all = Array.from({ length: 105 }, () => ask(llm));
    for (let i = 0; i < 5; i++)
      (await nextCall()).fail(new ProviderError('unavailable', 'unable to reach model'));
    const ends = await Promise.all(all.map(({ ended }) => ended));
    expect(ends.every((heard) => heard.at(-1)?.type === 'error')).toBe(true);
    expect(ends.at(-1)!.at(-1)).toMatchObject({
      code: 'provider_unavailable',
      message: expect.stringContaining('it kept failing'),
    });
    // Those five that took the places of the first, before the fifth failure was counted, at most.
    expect(calls.length).toBeLessThanOrEqual(10);
  });
});

describe('a full queue', () => {
  it('refuses as `overloaded`, and says when to come back', async () => {
    const { llm, nextCall } = limited(1, { limits: { maxQueued: 2 } });
    const [a, b, c] = [ask(llm), ask(llm), ask(llm)];
    const [error] = await ask(llm).ended;
    expect(error).toMatchObject({ type: 'error', code: 'overloaded' });
    expect(error).toMatchObject({ retryAfterMs: expect.any(Number) });
    b.cancel();
    await b.ended;
    const d = ask(llm, 'd');
    for (const _ of [a, c, d]) answer(await nextCall());
    expect(textOf(await d.ended)).toBe('d');
    await Promise.all([a.ended, c.ended]);
  });

  it('of no places at all refuses what is not answered at once', async () => {
    const { llm, nextCall } = limited(1, { limits: { maxQueued: 0 } });
    const a = ask(llm, 'a');
    expect((await ask(llm).ended).at(-1)).toMatchObject({ code: 'overloaded' });
    answer(await nextCall());
    expect(textOf(await a.ended)).toBe('a');
  });

  it('says to come back later where answers take longer', async () => {
    const waits: number[] = [];
    for (const answerMs of [100, 40_000]) {
      const { llm, nextCall } = limited(1, { limits: { maxQueued: 0 }, cache: undefined });
      for (let i = 0; i < 30; i++) {
        const one = ask(llm);
        const call = await nextCall();
        await vi.advanceTimersByTimeAsync(answerMs);
        answer(call);
        await one.ended;
        // The slot is released a turn after the last entry.
        await settled();
      }
      const busy = ask(llm);
      const call = await nextCall();
      const error = (await ask(llm).ended).at(-1);
      if (error?.type === 'error') waits.push(error.retryAfterMs ?? 0);
      answer(call);
      await busy.ended;
    }
    expect(waits[0]).toBe(1_000);
    expect(waits[1]).toBeGreaterThan(30_000);
  });
});

it('requests leave no listener on their signal, whether they waited or not', async () => {
  const { llm, nextCall } = limited(1);
  const { signal } = new AbortController();
  const all = ['a', 'b', 'c'].map((query) =>
    entriesOf(llm.generateResponseStream({ query }, { signal })),
  );
  for (const _ of all) answer(await nextCall());
  await Promise.all(all);
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

it('a request that never waits hears of no place', async () => {
  const { llm, nextCall } = limited(2);
  const entries = entriesOf(llm.generateResponseStream({ query: 'q' }));
  answer(await nextCall());
  expect((await entries).map(({ type }) => type)).toEqual(['start', 'text', 'end']);
});
