import { ProviderError, type Tool } from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import { answer, ask, queryOf } from '../harness/ask.js';
import { ownClock, settled } from '../harness/clock.js';
import { providerConfigOf } from '../harness/providers.js';
import { serviceOf, textOf } from '../harness/service.js';
import { type Call, stage } from '../harness/stage.js';

ownClock();

describe('two providers, the first of which is busy', () => {
  const patienceMs = 10_000;

  function two(localParallelism = 1, maxQueued = 512) {
    const [api, local] = [stage('api'), stage('local')];
    const llm = serviceOf(api.provider, {
      providers: [
        providerConfigOf(api.provider, { concurrency: 1, deadlines: { firstChunkMs: patienceMs } }),
        providerConfigOf(local.provider, { concurrency: localParallelism }),
      ],
      cache: undefined,
      limits: { maxQueued },
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
    await settled();
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
      providers: [
        providerConfigOf(api.provider),
        providerConfigOf(local.provider, { concurrency: 1 }),
      ],
      cache: undefined,
      limits: { maxQueued: 1 },
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
    expect(begun.places).toEqual([1, 0]);
    await busy.ended;
  });

  it('that has called a tool goes before those that wait, too', async () => {
    const { provider, nextCall } = stage('model');
    let found = (): void => {};
    const find: Tool = {
      name: 'find',
      description: 'Finds.',
      parameters: { type: 'object' },
      call: () => new Promise((resolve) => (found = () => resolve('found'))),
    };
    const llm = serviceOf(provider, {
      providers: [providerConfigOf(provider, { concurrency: 1 })],
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
    found();
    const late = ask(llm, 'late');
    await settled();
    expect(late.places.at(-1)).toBe(2);
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
