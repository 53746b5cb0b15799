import type { AnswerRequest, AnswerSnapshot, ResponseEvent } from '@rivulet/client';
import { createMockClient, record } from '@rivulet/client/testing';
import { EVENT, LIMITS } from '@rivulet/protocol';
import {
  gemini,
  mockProvider,
  type MockStep,
  ollama,
  ProviderError,
  type StreamedEntry,
} from '@rivulet/server';
import { lastValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { IDLE } from '../../packages/client/src/bindings/answer-controller.js';
import { type RunningFake, startFake } from '../harness/fakes.js';
import { cuttableLink } from '../harness/link.js';
import { collect, connect } from '../harness/plain-client.js';
import { providerConfigOf, providersOf } from '../harness/providers.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, snapshotWhen, staged } from '../harness/sdk.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { createStorage } from '../harness/storage.js';
import { answer as say, runs } from '../harness/tools.js';

const ASK: AnswerRequest = { query: 'q', options: { thoughts: true } };
const WANTED = { query: 'q', options: { thoughts: true } };
const CUT = new ProviderError('unavailable', 'unable to go on: cut');

const typesOf = (entries: readonly StreamedEntry[]): string[] => entries.map(({ type }) => type);
const thoughtsOf = (entries: readonly StreamedEntry[]): string[] =>
  entries.flatMap((entry) => (entry.type === 'thought' ? [entry.text] : []));
const thinks = (thoughts: string) => (snapshot: AnswerSnapshot) => snapshot.thoughts === thoughts;

function scripted(name: string, ...steps: MockStep[]) {
  return mockProvider(() => steps, { name });
}

/** The entries of an answer of these providers, the first of which is tried twice. */
function heard(...[first, ...rest]: Parameters<typeof providersOf>): Promise<StreamedEntry[]> {
  const [, ...others] = providersOf(first, ...rest);
  const providers = [providerConfigOf(first, { retries: true }), ...others] as const;
  return entriesOf(serviceOf(first, { providers }).generateResponseStream(WANTED));
}

describe('thoughts of the streaming core', () => {
  it('come in slices that split no surrogate pair, wherever the model splits them', async () => {
    const whole = '🦊'.repeat(LIMITS.thoughtUnits);
    const pieces = [whole.slice(0, 1), whole.slice(1, 4_099), whole.slice(4_099), '\ud83e'];
    const steps = pieces.map((thought) => ({ thought }));
    const entries = await heard(scripted('api', ...steps, { text: 'Fox.' }, { finish: 'stop' }));
    const thoughts = thoughtsOf(entries);
    expect(thoughts.join('')).toBe(whole);
    for (const thought of thoughts) {
      expect(thought.isWellFormed()).toBe(true);
      expect(thought.length).toBeLessThanOrEqual(LIMITS.thoughtUnits);
    }
  });

  it('are bounded, and no reason for a failure', async () => {
    const long = { thought: 'x'.repeat(4_000) };
    const steps: MockStep[] = [long, long, long, long, { text: 'Fox.' }, { finish: 'stop' }];
    const entries = await heard(scripted('api', ...steps));
    // The limit of these services is 10,000 units.
    expect(thoughtsOf(entries).join('')).toHaveLength(8_000);
    expect(entries.at(-1)).toMatchObject({ type: 'end', totalLength: 4 });
  });

  it('belong to an attempt of their own where a second try follows', async () => {
    const tries: MockStep[][] = [
      [{ thought: 'Wrong.' }, { fail: CUT }],
      [{ thought: 'Right.' }, { text: 'Fox.' }, { finish: 'stop' }],
    ];
    const entries = await heard(mockProvider(() => tries.shift() ?? []));
    expect(typesOf(entries)).toEqual(['start', 'thought', 'start', 'thought', 'text', 'end']);
    expect(entries[0]).not.toHaveProperty('reason');
    expect(entries[2]).toMatchObject({ attempt: 2, reason: CUT.message });
  });

  it('leave no trace where a try failed before them', async () => {
    const tries: MockStep[][] = [
      [{ fail: CUT }],
      [{ thought: 'Right.' }, { text: 'Fox.' }, { finish: 'stop' }],
    ];
    const entries = await heard(mockProvider(() => tries.shift() ?? []));
    expect(typesOf(entries)).toEqual(['start', 'thought', 'text', 'end']);
    expect(entries[0]).not.toHaveProperty('reason');
  });

  it.each(['restart', 'fail'] as const)(
    'are no text: with `%s`, another provider takes over',
    async (onMidstreamFailure) => {
      const api = scripted('api', { thought: 'Wrong.' }, { fail: CUT });
      const local = scripted('local', { text: 'Fox.' }, { finish: 'stop' });
      const llm = serviceOf([api, local], { onMidstreamFailure });
      const entries = await entriesOf(llm.generateResponseStream(WANTED));
      expect(typesOf(entries)).toEqual(['start', 'thought', 'start', 'text', 'end']);
      expect(entries[2]).toMatchObject({ attempt: 2, provider: 'local', reason: CUT.message });
    },
  );

  it('end with the error where no other provider is left', async () => {
    const entries = await heard(scripted('api', { thought: 'Hm.' }, { finish: 'length' }));
    expect(typesOf(entries)).toEqual(['start', 'thought', 'error']);
    expect(entries.at(-1)).toMatchObject({ code: 'too_large' });
  });

  it('begin the next attempt where they follow a text that was broken off', async () => {
    const api = scripted('api', { text: 'Lon' }, { fail: CUT });
    const local = scripted('local', { thought: 'Hm.' }, { text: 'Fox.' }, { finish: 'stop' });
    const entries = await heard(api, local);
    expect(typesOf(entries)).toEqual(['start', 'text', 'start', 'thought', 'text', 'end']);
    expect(entries[2]).toMatchObject({ attempt: 2, reason: CUT.message });
  });

  it('after tools belong to the attempt under way', async () => {
    const { provider, nextCall } = stage();
    const llm = serviceOf(provider, { tools: [runs('lookup', () => 'High.')] });
    const entries = entriesOf(llm.generateResponseStream(WANTED));
    const first = await nextCall();
    first.think('A tool.');
    first.callTool('lookup', { of: 'x' });
    first.finish();
    const second = await nextCall();
    second.think('It is high.');
    say(second);
    const types = ['start', 'thought', 'tool_call', 'tool_result', 'thought', 'text', 'end'];
    expect(typesOf(await entries)).toEqual(types);
  });

  it('after tools stay where a second try follows: the text before the tools stands', async () => {
    const { provider, nextCall } = stage();
    const providers = [providerConfigOf(provider, { retries: true })] as const;
    const llm = serviceOf(provider, { providers, tools: [runs('lookup', () => 'High.')] });
    const entries = entriesOf(llm.generateResponseStream(WANTED));
    const first = await nextCall();
    first.say('Let me see.');
    first.callTool('lookup', { of: 'x' });
    first.finish();
    const second = await nextCall();
    second.think('Wrong.');
    second.fail(CUT);
    const third = await nextCall();
    third.think('Right.');
    say(third, 'High.');
    expect(typesOf(await entries).filter((type) => type === 'start')).toHaveLength(1);
    expect(thoughtsOf(await entries)).toEqual(['Wrong.', 'Right.']);
    expect(textOf(await entries)).toBe('Let me see.\n\nHigh.');
  });

  it('do not hide why the text begins again where a silent try comes between', async () => {
    const first = new ProviderError('truncated', 'unable to go on: the first');
    const api = scripted('api', { text: 'Lon' }, { fail: first });
    const tries: MockStep[][] = [[{ fail: CUT }], [{ text: 'Fox.' }, { finish: 'stop' }]];
    const local = mockProvider(() => tries.shift() ?? [], { name: 'local' });
    const providers = [providerConfigOf(api), providerConfigOf(local, { retries: true })] as const;
    const llm = serviceOf(api, { providers });
    const entries = await entriesOf(llm.generateResponseStream(WANTED));
    expect(entries[2]).toMatchObject({ type: 'start', attempt: 2, reason: first.message });
  });

  it('are not kept: a cached answer without them answers who asks for them', async () => {
    const { provider, nextCall, calls } = stage();
    const llm = serviceOf(provider);
    const ask = (request: typeof WANTED | { query: string }) =>
      entriesOf(llm.generateResponseStream(request));
    const first = ask(WANTED);
    const call = await nextCall();
    call.think('Hm.');
    say(call, 'Fox.');
    await first;
    for (const request of [WANTED, { query: 'q' }]) {
      const entries = await ask(request);
      expect(typesOf(entries)).toEqual(['start', 'text', 'end']);
      expect(entries[0]).toMatchObject({ source: 'cache' });
      expect(textOf(entries)).toBe('Fox.');
    }
    expect(calls).toHaveLength(1);
  });
});

describe('thoughts of a stream', () => {
  it('come only to those who asked for them, who share the generation', async () => {
    const { server, nextCall, calls } = await staged();
    const one = sdk(server.url).start(ASK);
    const first = await nextCall();
    const two = sdk(server.url).start(ASK);
    first.think('Hm.');
    await Promise.all([one, two].map((answer) => snapshotWhen(answer, thinks('Hm.'))));
    const without = sdk(server.url).start({ query: 'q' });
    const second = await nextCall();
    expect([first.prompt.thoughts, second.prompt.thoughts]).toEqual([true, undefined]);
    second.think('Secret.');
    for (const call of [first, second]) say(call, 'Fox.');
    expect((await two.result).thoughts).toBe('Hm.');
    expect(await without.result).toMatchObject({ thoughts: '', text: 'Fox.' });
    expect(calls).toHaveLength(2);
  });

  it('reach a plain reader, whose text is exact', async () => {
    const { server, nextCall } = await staged();
    const socket = connect(server.url);
    const thoughts: unknown[] = [];
    socket.on(EVENT.thought, (message) => thoughts.push(message));
    const ended = collect(socket);
    await socket.emitWithAck(EVENT.start, { ...WANTED, stream_id: 'A', session_id: 's' });
    const call = await nextCall();
    call.think('Hm.');
    say(call, 'Fox.');
    expect(await ended).toMatchObject({ text: 'Fox.', terminal: { total_length: 4, offset: 6 } });
    const about = { type: EVENT.thought, stream_id: 'A', session_id: 's' };
    expect(thoughts).toEqual([{ ...about, offset: 1, data: 'Hm.' }]);
  });

  it('are followed by another attempt, also for a plain reader', async () => {
    const api = scripted('api', { thought: 'Wrong.' }, { fail: CUT });
    const local = scripted('local', { text: 'Fox.' }, { finish: 'stop' });
    const { url } = await startServer(api, { providers: providersOf(api, local) });
    const socket = connect(url);
    const ended = collect(socket);
    await socket.emitWithAck(EVENT.start, WANTED);
    expect(await ended).toMatchObject({ text: 'Fox.', terminal: { type: EVENT.end } });
  });
});

describe('thoughts of a client’s answer', () => {
  it('are in the snapshot, which waits until there is text', async () => {
    const { client, nextCall } = await staged();
    const answer = client.start(ASK);
    const events: ResponseEvent[] = [];
    answer.events$.subscribe((event) => events.push(event));
    expect(answer.getSnapshot().thoughts).toBe('');
    const call = await nextCall();
    call.think('One. ');
    expect(await snapshotWhen(answer, thinks('One. '))).toMatchObject({
      status: 'waiting',
      text: '',
      attempt: 1,
    });
    call.think('Two.');
    await snapshotWhen(answer, thinks('One. Two.'));
    call.say('Fox.');
    const streaming = await snapshotWhen(answer, ({ status }) => status === 'streaming');
    expect(streaming).toMatchObject({ thoughts: 'One. Two.', text: 'Fox.' });
    const late: ResponseEvent[] = [];
    answer.events$.subscribe((event) => late.push(event));
    call.finish();
    expect(await answer.result).toMatchObject({ status: 'done', thoughts: 'One. Two.' });
    const thoughts = (told: ResponseEvent[]) =>
      told.filter(({ type }) => type === 'thought' || type === 'text' || type === 'start');
    expect(thoughts(events)).toMatchObject([
      { type: 'start' },
      { type: 'thought', text: 'One. ' },
      { type: 'thought', text: 'Two.' },
      { type: 'text', text: 'Fox.' },
    ]);
    expect(thoughts(late)).toMatchObject([
      { type: 'start' },
      { type: 'thought', text: 'One. Two.' },
      { type: 'text', text: 'Fox.' },
    ]);
  });

  it('come to another handle, and to another tab', async () => {
    const { server, nextCall } = await staged();
    const browserId = 'the-browser-of-a-visitor';
    const client = sdk(server.url, { browserId });
    const answer = client.start(ASK);
    const call = await nextCall();
    call.think('Hm.');
    await snapshotWhen(answer, thinks('Hm.'));
    expect(client.resume(answer.id).getSnapshot().thoughts).toBe('Hm.');
    const tab = sdk(server.url, { browserId }).resume(answer.id);
    expect(await snapshotWhen(tab, thinks('Hm.'))).toMatchObject({ status: 'waiting' });
    say(call, 'Fox.');
    expect(await tab.result).toMatchObject({ thoughts: 'Hm.', text: 'Fox.' });
  });

  it('come once and whole, however often the connection breaks', async () => {
    const { server, nextCall, calls } = await staged();
    const link = await cuttableLink(server.url);
    const answer = sdk(link.url).start(ASK);
    const call = await nextCall();
    let whole = '';
    for (let i = 0; i < 4; i++) {
      whole += `thought ${i}, `;
      call.think(`thought ${i}, `);
      await snapshotWhen(answer, (s) => s.thoughts === whole && s.status === 'waiting');
      link.cut();
      call.think(`unheard ${i}; `);
      whole += `unheard ${i}; `;
      await snapshotWhen(answer, thinks(whole));
    }
    say(call, 'Fox.');
    expect(await answer.result).toMatchObject({ thoughts: whole, text: 'Fox.' });
    expect(calls).toHaveLength(1);
  });

  it('survive a reload, and are gone with the answer', async () => {
    const { server, nextCall } = await staged();
    const storage = createStorage();
    const browserId = 'the-browser-of-a-visitor';
    const open = (from: typeof storage) => sdk(server.url, { browserId, cache: { storage: from } });
    const answer = open(storage).start(ASK);
    const call = await nextCall();
    call.think('One. ');
    const journalled = { received: { thoughts: 'One. ', text: '' } };
    const entries = () => storage.valuesOf('j:');
    await vi.waitFor(() => expect(entries()).toMatchObject([journalled]));

    const later = open(storage.copy()).resume(answer.id);
    // The stored text is shown at once.
    const first = await snapshotWhen(later, ({ thoughts }) => thoughts !== '');
    expect(first).toMatchObject({ status: 'reconnecting', thoughts: 'One. ' });
    call.think('Two.');
    await snapshotWhen(later, thinks('One. Two.'));
    say(call, 'Fox.');
    expect(await later.result).toMatchObject({ thoughts: 'One. Two.', text: 'Fox.' });
    await answer.result;
    await vi.waitFor(() => expect(storage.valuesOf('b:')).toHaveLength(1));
    await vi.waitFor(() => expect(entries()).toEqual([]));
    expect(JSON.stringify([...storage.items])).not.toContain('One. ');
  });

  it('begin again with another attempt, also after thoughts alone', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const providers = providersOf(api.provider, local.provider);
    const { url } = await startServer(api.provider, { providers });
    const answer = sdk(url).start(ASK);
    const first = await api.nextCall();
    first.think('Wrong.');
    await snapshotWhen(answer, thinks('Wrong.'));
    first.fail(CUT);
    const second = await local.nextCall();
    // Nothing of the next attempt has come: what was thought so far stands.
    expect(answer.getSnapshot()).toMatchObject({ attempt: 1, thoughts: 'Wrong.' });
    second.think('Right.');
    const right = await snapshotWhen(answer, ({ attempt }) => attempt === 2);
    expect(right).toMatchObject({ thoughts: '', restartReason: CUT.message, status: 'waiting' });
    await snapshotWhen(answer, thinks('Right.'));
    say(second, 'Fox.');
    expect(await answer.result).toMatchObject({ thoughts: 'Right.', text: 'Fox.' });
  });

  it('are not kept in the browser, whose kept answer answers who asks for them', async () => {
    const { server, nextCall, calls } = await staged({ cache: { enabled: false } });
    const storage = createStorage();
    const client = sdk(server.url, { cache: { storage } });
    const answer = client.start(ASK);
    const call = await nextCall();
    call.think('Hm.');
    say(call, 'Fox.');
    await answer.result;
    const kept = { source: 'browser-cache', text: 'Fox.', thoughts: '' };
    await vi.waitFor(() => expect(storage.valuesOf('b:')).toHaveLength(1));
    expect(await client.start(ASK).result).toMatchObject(kept);
    expect(await client.start({ query: 'q' }).result).toMatchObject(kept);
    expect(calls).toHaveLength(1);
    const again = client.start({ query: 'q', options: { thoughts: true, cache: 'reload' } });
    const fresh = await nextCall();
    fresh.think('Hm, again.');
    say(fresh, 'Fox.');
    expect((await again.result).thoughts).toBe('Hm, again.');
  });

  it('are steps of a script, which `record` writes', async () => {
    const script = [
      { type: 'thought', text: 'Hm.' },
      { type: 'text', text: 'Fox.' },
      { type: 'end' },
    ] as const;
    const { result } = createMockClient(script).start(ASK);
    expect(await result).toMatchObject({ thoughts: 'Hm.', text: 'Fox.', attempt: 1 });
    const steps = await lastValueFrom(createMockClient(script).stream(ASK).pipe(record()));
    const types = ['start', 'thought', 'text', 'end'];
    expect(steps.map(({ type }) => type)).toEqual(types);
    expect((await createMockClient(steps).start(ASK).result).thoughts).toBe('Hm.');
    expect(IDLE.thoughts).toBe('');
  });
});

describe.each(['gemini', 'ollama'] as const)('thoughts of %s', (name) => {
  let fake: RunningFake;
  beforeAll(async () => {
    fake = await startFake(name);
  });
  afterAll(() => fake.stop());

  const questions = name === 'ollama' ? ['thoughts', 'think-tags'] : ['thoughts'];
  it.each(questions)('come with the answer where they are asked for: %s', async (query) => {
    const provider =
      name === 'gemini'
        ? gemini({ apiKey: 'k', model: 'gemini-2.5-flash', baseUrl: fake.url })
        : ollama({ host: fake.url, model: 'qwen3:0.6b' });
    const client = sdk((await startServer(provider, { cache: { enabled: false } })).url);
    const asked = client.start({ query, options: { thoughts: true } });
    const answer = { status: 'done', text: 'It is so.' };
    expect(await asked.result).toMatchObject({ ...answer, thoughts: 'Let me think. Yes.' });
    expect(await client.start({ query }).result).toMatchObject({ ...answer, thoughts: '' });
  });
});
