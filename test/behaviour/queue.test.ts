import { getEventListeners } from 'node:events';
import {
  type Entry,
  ProviderError,
  questionOf,
  type QueuedEntry,
  type Tool,
} from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { ownClock, settled } from '../harness/clock.js';
import { candidateOf } from '../harness/route.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { type Call, stage } from '../harness/stage.js';

type Core = ReturnType<typeof serviceOf>;

/** A request and what it has heard so far. */
function ask(llm: Core, query = 'q') {
  const controller = new AbortController();
  const heard: (Entry | QueuedEntry)[] = [];
  const stream = llm.generateResponseStream({ query }, { signal: controller.signal });
  const ended = (async () => {
    for await (const entry of stream) heard.push(entry);
    return heard;
  })();
  return {
    ended,
    cancel: () => controller.abort(),
    /** Every place that it was told. */
    get places() {
      return heard.flatMap((entry) => (entry.type === 'queued' ? [entry.ahead] : []));
    },
    get last() {
      return heard.at(-1);
    },
  };
}

const queryOf = ({ prompt }: Call): string => questionOf(prompt);

function answer(call: Call): void {
  call.say(queryOf(call));
  call.finish();
}

/** A provider that answers so many at a time. */
function limited(parallelism: number, options: Parameters<typeof serviceOf>[1] = {}) {
  const { provider, ...played } = stage('model');
  const llm = serviceOf(provider, { route: [candidateOf(provider, { parallelism })], ...options });
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
      route: [candidateOf(provider, { parallelism: 1, deadlines })],
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
    const { llm, nextCall } = limited(1, { maxQueued: 2 });
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
    const { llm, nextCall } = limited(1, { maxQueued: 0 });
    const a = ask(llm, 'a');
    expect((await ask(llm).ended).at(-1)).toMatchObject({ code: 'overloaded' });
    answer(await nextCall());
    expect(textOf(await a.ended)).toBe('a');
  });

  it('says to come back later where answers take longer', async () => {
    const waits: number[] = [];
    for (const answerMs of [100, 40_000]) {
      const { llm, nextCall } = limited(1, { maxQueued: 0, cache: undefined });
      for (let i = 0; i < 30; i++) {
        const one = ask(llm);
        const call = await nextCall();
        await vi.advanceTimersByTimeAsync(answerMs);
        answer(call);
        await one.ended;
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

describe('two providers, the first of which is busy', () => {
  const patienceMs = 10_000;

  function two(localParallelism = 1, maxQueued = 512) {
    const [api, local] = [stage('api'), stage('local')];
    const llm = serviceOf(api.provider, {
      route: [
        candidateOf(api.provider, { parallelism: 1, deadlines: { firstChunkMs: patienceMs } }),
        candidateOf(local.provider, { parallelism: localParallelism }),
      ],
      cache: undefined,
      maxQueued,
    });
    return { llm, api, local };
  }

  it('have a request wait for the first for a while, for that is the better one', async () => {
    const { llm, api, local } = two();
    const [a, b] = [ask(llm, 'a'), ask(llm, 'b')];
    const call = await api.nextCall();
    call.say('a');
    await vi.advanceTimersByTimeAsync(patienceMs - 10);
    call.finish();
    answer(await api.nextCall());
    await Promise.all([a.ended, b.ended]);
    expect(local.calls).toHaveLength(0);
  });

  it('have the second take over when the first has no place for longer than it may be silent', async () => {
    const { llm, api, local } = two();
    const [a, b] = [ask(llm, 'a'), ask(llm, 'b')];
    const call = await api.nextCall();
    call.say('a');
    await vi.advanceTimersByTimeAsync(patienceMs);
    answer(await local.nextCall());
    const heard = await b.ended;
    expect(heard.map(({ type }) => type)).toEqual(['queued', 'queued', 'start', 'text', 'end']);
    expect(heard[2]).toMatchObject({ provider: 'local', attempt: 1 });
    call.finish();
    await a.ended;
  });

  it('have whoever waits stand in both queues, and go where the turn comes first', async () => {
    const { llm, api, local } = two();
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((query) => ask(llm, query));
    const atApi = await api.nextCall();
    atApi.say('a');
    await vi.advanceTimersByTimeAsync(patienceMs);
    const atLocal = await local.nextCall();
    expect(queryOf(atLocal)).toBe('b');
    expect(c!.places).toEqual([2, 1]);
    expect(llm.providerStatus()).toMatchObject([{ waiting: 2 }, { waiting: 2 }]);
    atApi.finish();
    const next = await api.nextCall();
    expect(queryOf(next)).toBe('c');
    await settled();
    expect(d!.places).toEqual([3, 2, 1]);
    expect(llm.providerStatus()).toMatchObject([{ waiting: 1 }, { waiting: 1 }]);
    answer(atLocal);
    expect(queryOf(await local.nextCall())).toBe('d');
    answer(next);
    answer(local.calls[1]!);
    const texts = await Promise.all([a, b, c, d].map(async (one) => textOf(await one!.ended)));
    expect(texts).toEqual(['a', 'b', 'c', 'd']);
  });

  it('have the second take over at once when the queue of the first is full', async () => {
    const { llm, api, local } = two(1, 0);
    const [a, b] = [ask(llm, 'a'), ask(llm, 'b')];
    answer(await local.nextCall());
    expect(textOf(await b.ended)).toBe('b');
    answer(await api.nextCall());
    await a.ended;
  });

  it('are `overloaded` when both queues are full', async () => {
    const { llm, api, local } = two(1, 0);
    const [a, b] = [ask(llm, 'a'), ask(llm, 'b')];
    await Promise.all([api.nextCall(), local.nextCall()]);
    expect((await ask(llm).ended).at(-1)).toMatchObject({
      code: 'overloaded',
      message: expect.stringMatching(/from api.+from local/),
      retryAfterMs: expect.any(Number),
    });
    a.cancel();
    b.cancel();
    await Promise.all([a.ended, b.ended]);
  });

  it('free the places in both queues when a request is cancelled', async () => {
    const { llm, api, local } = two();
    const all = ['a', 'b', 'c'].map((query) => ask(llm, query));
    (await api.nextCall()).say('a');
    await vi.advanceTimersByTimeAsync(patienceMs);
    (await local.nextCall()).say('b');
    all[2]!.cancel();
    expect(llm.providerStatus()).toMatchObject([{ waiting: 0 }, { waiting: 0 }]);
    for (const one of all) one.cancel();
    await Promise.all(all.map(({ ended }) => ended));
    expect(llm.providerStatus()).toMatchObject([{ running: 0 }, { running: 0 }]);
  });

  it('tell a request its place again when the first broke off and it waits for the second', async () => {
    const { llm, api, local } = two();
    const a = ask(llm, 'a');
    const call = await api.nextCall();
    call.say('Lon');
    const b = ask(llm, 'b');
    await vi.advanceTimersByTimeAsync(patienceMs);
    const busy = await local.nextCall();
    call.fail(new ProviderError('truncated', 'unable to finish'));
    await settled();
    expect(a.last).toEqual({ type: 'queued', ahead: 1 });
    answer(busy);
    answer(await local.nextCall());
    expect((await a.ended).map(({ type }) => type)).toEqual([
      'start',
      'text',
      'queued',
      'queued',
      'start',
      'text',
      'end',
    ]);
    await b.ended;
  });
});

describe('an answer under way', () => {
  it('goes before those that wait, who hear of it, and is not refused by a full queue', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const llm = serviceOf(api.provider, {
      route: [candidateOf(api.provider), candidateOf(local.provider, { parallelism: 1 })],
      cache: undefined,
      maxQueued: 1,
    });
    const fail = (call: Call): void => call.fail(new ProviderError('truncated', 'unable to go on'));
    const begun = ask(llm, 'begun');
    const shown = await api.nextCall();
    shown.say('Lon');
    const busy = ask(llm, 'busy');
    fail(await api.nextCall());
    const atLocal = await local.nextCall();
    const waits = ask(llm, 'waits');
    fail(await api.nextCall());
    await settled();
    expect(waits.places).toEqual([1]);
    fail(shown);
    await settled();
    expect(begun.last).toEqual({ type: 'queued', ahead: 1 });
    expect(waits.places).toEqual([1, 2]);
    answer(atLocal);
    const next = await local.nextCall();
    expect(queryOf(next)).toBe('begun');
    answer(next);
    answer(await local.nextCall());
    expect(textOf(await waits.ended)).toBe('waits');
    expect((await begun.ended).at(-1)).toMatchObject({ type: 'end' });
    await busy.ended;
  });

  it('that has called a tool goes before those that wait, too', async () => {
    const { provider, nextCall } = stage('model');
    const find: Tool = {
      name: 'find',
      description: 'Finds.',
      parameters: { type: 'object' },
      call: async () => 'found',
    };
    const llm = serviceOf(provider, {
      route: [candidateOf(provider, { parallelism: 1 })],
      tools: [find],
      cache: undefined,
    });
    const begun = ask(llm, 'begun');
    const first = await nextCall();
    const waits = ask(llm, 'waits');
    await settled();
    first.callTool('find', {});
    first.finish();
    // The model is free while the tool runs, so the one that waits has its turn.
    const other = await nextCall();
    expect(queryOf(other)).toBe('waits');
    const late = ask(llm, 'late');
    await settled();
    expect(late.places).toEqual([1, 2]);
    answer(other);
    const second = await nextCall();
    expect(second.prompt.messages.at(-1)).toMatchObject({ role: 'tool' });
    second.say('Found.');
    second.finish();
    answer(await nextCall());
    expect(textOf(await begun.ended)).toBe('Found.');
    await Promise.all([waits.ended, late.ended]);
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
