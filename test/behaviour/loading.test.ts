import { setTimeout as wait } from 'node:timers/promises';
import type { AnswerSnapshot, ResponseEvent } from '@rivulet/client';
import {
  createLlmService,
  type Delta,
  type LlmService,
  ollama,
  type Provider,
  ProviderError,
  type StreamedEntry,
} from '@rivulet/server';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { hear, type RunningFake, startFake, toPrompt } from '../harness/fakes.js';
import { recorded } from '../harness/log.js';
import { connect, next } from '../harness/plain-client.js';
import { providerConfigOf } from '../harness/providers.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { EVENT } from '@rivulet/protocol';
import { stage } from '../harness/stage.js';
import { startUpstream } from '../harness/upstream.js';

/** A fake that loads no model until it is told to. */
async function holdingFake(): Promise<RunningFake> {
  const fake = await startFake('ollama');
  onTestFinished(() => fake.stop());
  await fake.tell('/_fake/load', { hold: true });
  return fake;
}

const release = (fake: RunningFake) => fake.tell('/_fake/load', { hold: false });

describe('an answer of ollama', () => {
  it('says that its model is being loaded, and how long that took', async () => {
    const fake = await holdingFake();
    const deltas: Delta[] = [];
    const provider = ollama({ host: fake.url, model: 'llama3.2' });
    for await (const delta of provider.stream(toPrompt('q'), new AbortController().signal)) {
      if (delta.type === 'loading') await release(fake);
      deltas.push(delta);
    }
    expect(deltas.slice(0, 2)).toEqual([
      { type: 'loading' },
      { type: 'loaded', ms: expect.any(Number) },
    ]);
    expect((deltas[1] as { ms: number }).ms).toBeGreaterThanOrEqual(200);
    expect(new Set(deltas.slice(2).map(({ type }) => type))).toEqual(new Set(['text', 'finish']));
  });

  it('says nothing of a model that is in memory while it reads the prompt', async () => {
    let looked = (): void => {};
    const look = new Promise<void>((resolve) => (looked = resolve));
    const { url } = await startUpstream(async ({ path }, response) => {
      if (path === '/api/chat') await look;
      else looked();
      const line = { message: { content: 'Yes.' }, done: true, done_reason: 'stop' };
      const body = path === '/api/chat' ? line : { models: [{ name: 'm:latest' }] };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
    const { deltas } = await hear(ollama({ host: url, model: 'm' }), 'q');
    expect(deltas.map(({ type }) => type)).toEqual(['text', 'finish']);
  });

  it('does not look for a model that has just answered', async () => {
    let chats = 0;
    const { url, requests } = await startUpstream(async ({ path }, response) => {
      // Longer than until the first look.
      if (path === '/api/chat' && ++chats === 2) await wait(600);
      const line = { message: { content: 'Yes.' }, done: true, done_reason: 'stop' };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(path === '/api/chat' ? line : { models: [] }));
    });
    const provider = ollama({ host: url, model: 'm' });
    await hear(provider, 'q');
    const { deltas } = await hear(provider, 'q');
    expect(deltas.map(({ type }) => type)).toEqual(['text', 'finish']);
    // On a slow machine, the first answer may take so long that it is looked for.
    expect([chats, requests.at(-1)?.path]).toEqual([2, '/api/chat']);
  });

  it('stops looking where /api/ps cannot be read, and when it is given up', async () => {
    const { url, requests } = await startUpstream(({ path }, response) => {
      if (path !== '/api/chat') response.writeHead(404).end();
    });
    const left = new AbortController();
    const heard = hear(ollama({ host: url, model: 'm' }), 'q', left.signal);
    await expect.poll(() => requests.length).toBe(2);
    await wait(1_500);
    expect(requests).toHaveLength(2);
    left.abort(new Error('left'));
    expect((await heard).error).toBe(left.signal.reason);
  });

  it('may be given up while its model is being loaded', async () => {
    const fake = await holdingFake();
    const provider = ollama({ host: fake.url, model: 'llama3.2' });
    for await (const delta of provider.stream(toPrompt('q'), new AbortController().signal)) {
      expect(delta.type).toBe('loading');
      break;
    }
    await expect.poll(async () => (await fake.stats()).aborted).toBe(1);
  });
});

/** A provider that plays what the test says. */
function player(play: (signal: AbortSignal) => AsyncIterable<Delta>): Provider {
  return { name: 'local', model: 'm', stream: (_, signal) => play(signal) };
}

function serviceWith(provider: Provider, deadlines: object): LlmService {
  return serviceOf(provider, { providers: [providerConfigOf(provider, { deadlines })] });
}

const FINISH: Delta = { type: 'finish', reason: 'stop', usage: {} };

describe('the deadlines of a call', () => {
  it('give loading a time of its own', async () => {
    const never = player(async function* (signal) {
      yield { type: 'loading' };
      await wait(60_000, undefined, { signal });
    });
    const service = serviceWith(never, { loadMs: 40, firstChunkMs: 60_000 });
    await expect(service.generateResponse({ query: 'q' })).rejects.toMatchObject({
      code: 'provider_timeout',
      message: expect.stringContaining('it did not load the model within 40 ms'),
    });
  });

  it('begin the time for the first text when the model is loaded', async () => {
    const slow = player(async function* (signal) {
      yield { type: 'loading' };
      await wait(400, undefined, { signal });
      yield { type: 'loaded', ms: 400 };
      yield { type: 'text', text: 'Yes.' };
      yield FINISH;
    });
    const service = serviceWith(slow, { loadMs: 0, firstChunkMs: 200 });
    expect(await service.generateResponse({ query: 'q' })).toMatchObject({ text: 'Yes.' });

    const silent = player(async function* (signal) {
      yield { type: 'loading' };
      yield { type: 'loaded', ms: 1 };
      await wait(60_000, undefined, { signal });
    });
    const other = serviceWith(silent, { loadMs: 60_000, firstChunkMs: 40 });
    await expect(other.generateResponse({ query: 'q' })).rejects.toMatchObject({
      message: expect.stringContaining('it did not begin within 40 ms'),
    });
  });

  it('count a model that was not loaded in time as a failure', async () => {
    const never = player(async function* (signal) {
      yield { type: 'loading' };
      await wait(60_000, undefined, { signal });
    });
    const service = serviceWith(never, { loadMs: 10 });
    for (let asked = 0; asked < 5; asked++) {
      await service.generateResponse({ query: 'q' }).catch(() => {});
    }
    expect(service.providerStatus()).toMatchObject([{ breaker: 'open' }]);
  });

  it('take loading for no answer: a call that fails after it is tried once more', async () => {
    let calls = 0;
    const flaky = player(async function* () {
      yield { type: 'loading' };
      yield { type: 'loaded', ms: 1 };
      if (++calls === 1) throw new ProviderError('unavailable', 'unable to load');
      yield { type: 'text', text: 'Yes.' };
      yield FINISH;
    });
    const providers = [providerConfigOf(flaky, { retries: true })] as const;
    const service = serviceOf(flaky, { providers });
    expect((await service.generateResponse({ query: 'q' })).text).toBe('Yes.');
    expect(calls).toBe(2);
  });
});

describe('the stream of an answer', () => {
  it('has `loading` as news, and the time in its end and in the log', async () => {
    const fake = await holdingFake();
    const log = recorded();
    const llm = await createLlmService({
      env: { LLM_MODE: 'local', OLLAMA_HOST: fake.url, OLLAMA_MODEL: 'llama3.2' },
      logger: log.logger,
    });
    const entries: StreamedEntry[] = [];
    for await (const entry of llm.generateResponseStream({ query: 'Explain deltas' })) {
      if (entry.type === 'loading') await release(fake);
      entries.push(entry);
    }
    expect(entries.slice(0, 3)).toMatchObject([
      { type: 'loading', provider: 'ollama', model: 'llama3.2' },
      { type: 'queued', ahead: 0 },
      { type: 'start' },
    ]);
    expect(entries.at(-1)).toMatchObject({
      type: 'end',
      totalLength: textOf(entries).length,
      timing: { load_ms: expect.any(Number) },
    });
    expect(log.events.find(({ event }) => event === 'LLM_STREAM_COMPLETED')).toMatchObject({
      loadMs: expect.any(Number),
    });
  });

  it('has no time of a model that was there', async () => {
    const ready = player(async function* () {
      yield { type: 'text', text: 'Yes.' };
      yield FINISH;
    });
    const entries = await entriesOf(serviceOf(ready).generateResponseStream({ query: 'q' }));
    expect(entries.at(-1)).not.toHaveProperty('timing.load_ms');
  });

  it('reaches its readers from offset 0, as `loading` is no part of it', async () => {
    const loads = player(async function* () {
      yield { type: 'loading' };
      yield { type: 'loaded', ms: 1_234 };
      yield { type: 'text', text: 'Yes.' };
      yield FINISH;
    });
    const { url } = await startServer(loads);
    const socket = connect(url);
    const begun = next<{ offset: number }>(socket, EVENT.start);
    const ended = next<{ timing: object }>(socket, EVENT.end);
    await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 's', window: 1_000 });
    expect((await begun).offset).toBe(0);
    expect((await ended).timing).toMatchObject({ load_ms: 1_234 });
  });

  it('shows its client which model is being loaded, and how many messages were left out', async () => {
    let load = (): void => {};
    const loads = player(async function* () {
      yield { type: 'loading' };
      await new Promise<void>((resolve) => (load = resolve));
      yield { type: 'loaded', ms: 1 };
      yield { type: 'omitted', messages: 2 };
      yield { type: 'text', text: 'Yes.' };
      yield FINISH;
    });
    const { url } = await startServer(loads);
    const answer = sdk(url).start({ query: 'q', omittedMessages: 3 });
    const events: ResponseEvent[] = [];
    const seen: AnswerSnapshot[] = [];
    answer.events$.subscribe((event) => events.push(event));
    answer.state$.subscribe((snapshot) => seen.push(snapshot));
    const shown = await snapshotWhen(answer, ({ status }) => status === 'loading');
    const { name: provider, model } = loads;
    expect(shown.loading).toEqual({ provider, model });
    const replayed = firstValueFrom(answer.events$);
    expect(await replayed).toEqual({ type: 'loading', provider, model });
    load();
    expect(await answer.result).toMatchObject({ loading: undefined, omittedMessages: 5 });
    expect(events.map(({ type }) => type)).toEqual(['loading', 'queued', 'start', 'text', 'end']);
    expect(events[2]).toMatchObject({ omittedMessages: 5 });
    expect(new Set(seen.map(({ status }) => status))).toEqual(
      new Set(['waiting', 'loading', 'streaming', 'done']),
    );
  });

  it('ends `loading` when the model is given up and another is asked', async () => {
    const never = player(async function* (signal) {
      yield { type: 'loading' };
      await wait(60_000, undefined, { signal });
    });
    const { provider: second, nextCall } = stage('second');
    const { url } = await startServer(never, {
      providers: [{ provider: never, deadlines: { loadMs: 300 } }, providerConfigOf(second)],
    });
    const answer = sdk(url).start({ query: 'q' });
    await snapshotWhen(answer, ({ status }) => status === 'loading');
    const call = await nextCall();
    await snapshotWhen(answer, ({ status }) => status === 'waiting');
    call.say('Yes.');
    call.finish();
    expect((await answer.result).text).toBe('Yes.');
  });
});
