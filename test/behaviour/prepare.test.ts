import { EVENT } from '@rivulet/protocol';
import {
  gemini,
  mockProvider,
  ollama,
  type Prepare,
  type PrepareContext,
  type Prompt,
  type Provider,
  ProviderError,
  type ServerOptions,
  StreamError,
  type Tool,
} from '@rivulet/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startFake } from '../harness/fakes.js';
import { collect, next } from '../harness/plain-client.js';
import { providerConfigOf } from '../harness/providers.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';
import { connectAs, keepingLogger, start, USERS } from '../harness/users.js';

/** Answers with `Hello.`, and keeps the prompts. */
function prompted(): { provider: Provider; prompts: Prompt[] } {
  const prompts: Prompt[] = [];
  const provider = mockProvider((prompt) => {
    prompts.push(prompt);
    return [{ text: 'Hello.' }, { finish: 'stop' }];
  });
  return { provider, prompts };
}

/** A hook whose calls the test ends. */
function heldHook() {
  const calls: (PrepareContext & { give(result: ReturnType<Prepare>): void })[] = [];
  const prepare: Prepare = (context) =>
    new Promise((resolve) => void calls.push({ ...context, give: resolve }));
  const called = (count = 1) => vi.waitFor(() => expect(calls).toHaveLength(count));
  return { prepare, calls, called };
}

/** Asks as `user` and gives the whole answer. */
async function answerTo(url: string, user = 'ann', id = 'A', request: object = {}) {
  const socket = connectAs(url, user);
  const collected = collect(socket);
  await start(socket, id, request);
  return collected;
}

const tool = (name: string): Tool => ({
  name,
  description: 'Does.',
  parameters: { type: 'object' },
  call: async () => `${name} ran`,
});

describe('prepare', () => {
  it('is given the question, and changes what the model is told', async () => {
    const { provider, prompts } = prompted();
    const seen: PrepareContext[] = [];
    const { url } = await startServer(provider, {
      ...USERS,
      tools: [tool('read'), tool('write')],
      maxTokens: 500,
      prepare(context) {
        seen.push(context);
        return {
          system: 'You help Ann.',
          context: [{ role: 'user', content: 'I live in Bonn.' }],
          tools: ['read', 'unknown'],
          options: { temperature: 0.1, max_tokens: 100, seed: 7 },
        };
      },
    });
    const context = [{ role: 'user', content: 'Hi.' }];
    const options = { temperature: 1, top_k: 3, max_tokens: 200 };
    await answerTo(url, 'ann', 'A', { session_id: 'S', context, options });
    const { signal, ...question } = seen[0]!;
    expect(signal).toBeInstanceOf(AbortSignal);
    const request = { query: 'q', context, options };
    expect(question).toEqual({ principal: 'ann', streamId: 'A', sessionId: 'S', request });
    expect(prompts[0]).toMatchObject({
      system: 'You help Ann.',
      messages: [{ text: 'I live in Bonn.' }, { text: 'Hi.' }, { text: 'q' }],
      tools: [{ name: 'read' }],
      temperature: 0.1,
      topK: 3,
      maxTokens: 100,
      seed: 7,
    });
    expect(prompts[0]!.tools).toHaveLength(1);
  });

  it.each([
    [{ max_tokens: 50 }, 100, 50],
    [{}, 100, 100],
    [{}, 900, 500],
  ])('lowers the limit of tokens and never raises it: %j, %d', async (options, limit, expected) => {
    const { provider, prompts } = prompted();
    const prepare = () => ({ options: { max_tokens: limit } });
    const { url } = await startServer(provider, { ...USERS, maxTokens: 500, prepare });
    await answerTo(url, 'ann', 'A', { options });
    expect(prompts[0]!.maxTokens).toBe(expected);
  });

  it('takes all tools away, and a model that calls one all the same gets no result', async () => {
    const { provider, nextCall } = stage();
    const read = { ...tool('read'), call: vi.fn<Tool['call']>() };
    const prepare = () => ({ tools: false }) as const;
    const { url } = await startServer(provider, { ...USERS, tools: [read], prepare });
    const answered = answerTo(url);
    const call = await nextCall();
    expect(call.prompt.tools).toBeUndefined();
    call.say('I read.');
    call.callTool('read', {});
    call.finish();
    expect((await answered).text).toBe('I read.');
    expect(read.call).not.toHaveBeenCalled();
  });

  it('changes nothing if it returns nothing', async () => {
    const { provider, prompts } = prompted();
    const { url } = await startServer(provider, { ...USERS, systemPrompt: 'S', prepare() {} });
    expect((await answerTo(url)).text).toBe('Hello.');
    expect(prompts[0]).toMatchObject({ system: 'S', messages: [{ text: 'q' }] });
  });

  it('leaves out the tools and the context of the client alone', async () => {
    const { provider, prompts } = prompted();
    const { url } = await startServer(provider, {
      ...USERS,
      tools: [tool('read')],
      prepare: () => ({
        context: [{ role: 'user', content: 'I live in Bonn.' }],
        clientTools: false,
        clientContext: false,
      }),
    });
    await answerTo(url, 'ann', 'A', {
      context: [{ role: 'user', content: 'Hi.' }],
      client_tools: [{ name: 'scroll', description: 'S.', parameters: { type: 'object' } }],
    });
    expect(prompts[0]).toMatchObject({
      messages: [
        { role: 'user', text: 'I live in Bonn.' },
        { role: 'user', text: 'q' },
      ],
    });
    expect(prompts[0]!.tools?.map(({ name }) => name)).toEqual(['read']);
  });

  it('counts as left out of the context only what the client sent', async () => {
    const provider: Provider = {
      name: 'short',
      model: 'm',
      async *stream() {
        yield { type: 'omitted', messages: 3 };
        yield { type: 'text', text: 'Hello.' };
        yield { type: 'finish', reason: 'stop', usage: {} };
      },
    };
    const context = [
      { role: 'user', content: 'I live in Bonn.' },
      { role: 'assistant', content: 'Noted.' },
    ] as const;
    const { llm } = await startServer(provider);
    const entries = [];
    const stream = llm.generateResponseStream({ query: 'q' }, { prepared: { context } });
    for await (const entry of stream) entries.push(entry);
    expect(entries[0]).toMatchObject({ type: 'start', omittedMessages: 1 });
  });

  it('names the model of each provider; the answer and the cache name it, too', async () => {
    const { provider, prompts } = prompted();
    const { provider: other, prompts: otherPrompts } = prompted();
    const prepare: Prepare = ({ principal }) => ({
      models: principal === 'ann' ? { scripted: 'large', unknown: 'x' } : {},
    });
    const cache = { scope: 'shared' } as const;
    const providers = [providerConfigOf(provider), providerConfigOf(other)] as const;
    const { url } = await startServer(provider, { ...USERS, cache, providers, prepare });
    const { terminal } = await answerTo(url, 'ann');
    expect(terminal).toMatchObject({ provider: 'scripted', model: 'large', source: 'model' });
    expect((await answerTo(url, 'bob')).terminal).toMatchObject({ model: 'script' });
    expect((await answerTo(url, 'ann', 'B')).terminal).toMatchObject({
      model: 'large',
      source: 'cache',
    });
    expect([prompts.length, otherPrompts.length]).toEqual([2, 0]);
  });

  it('has Gemini and Ollama asked for the model', async () => {
    const [geminiFake, ollamaFake] = await Promise.all([startFake('gemini'), startFake('ollama')]);
    onTestFinished(async () => void (await Promise.all([geminiFake.stop(), ollamaFake.stop()])));
    const [first, second] = [
      gemini({ apiKey: 'k', model: 'gemini-2.5-flash', baseUrl: geminiFake.url }),
      ollama({ host: ollamaFake.url, model: 'llama3.2' }),
    ];
    const models = { gemini: 'gemini-2.5-pro', ollama: 'qwen3:8b' };
    for (const [provider, expected] of [
      [first, { model: 'gemini-2.5-pro' }],
      [second, { model: 'qwen3:8b' }],
    ] as const) {
      const { url, llm } = await startServer(provider, { ...USERS, prepare: () => ({ models }) });
      expect((await answerTo(url)).terminal).toMatchObject(expected);
      expect(llm.providerStatus()[0]).toMatchObject({ model: provider.model });
    }
  });

  it('breaks the circuit of the model that it names, and not that of the provider', async () => {
    const provider = mockProvider(() => [{ text: 'Hello.' }, { finish: 'stop' }]);
    const failing = mockProvider(() => [
      { fail: new ProviderError('misconfigured', 'unable to: no such model') },
    ]);
    const main = { ...provider, withModel: () => failing };
    const prepare: Prepare = ({ request }) => ({
      models: request.query.startsWith('broken') ? { scripted: 'broken' } : {},
    });
    const { url, llm } = await startServer(main, { ...USERS, prepare });
    for (let i = 0; i < 8; i++) await answerTo(url, 'ann', `${i}`, { query: `broken ${i}` });
    const { terminal } = await answerTo(url, 'ann', 'last', { query: 'broken at last' });
    expect(terminal).toMatchObject({ message: expect.stringContaining('left alone') });
    expect((await answerTo(url, 'ann', 'other')).text).toBe('Hello.');
    expect(llm.providerStatus()[0]).toMatchObject({ breaker: 'closed', problem: undefined });
  });

  it('refuses with its code and sentence, and no provider is asked', async () => {
    const { provider, prompts } = prompted();
    const { logger, logged } = keepingLogger();
    const { url } = await startServer(provider, {
      ...USERS,
      logger,
      async prepare() {
        throw new StreamError('rate_limited', 'unable to answer: your tokens are used up', {
          retryAfterMs: 5_000,
        });
      },
    });
    const { terminal } = await answerTo(url);
    expect(terminal).toMatchObject({
      code: 'rate_limited',
      message: 'unable to answer: your tokens are used up',
      retryable: true,
      retry_after_ms: 5_000,
    });
    expect(prompts).toEqual([]);
    expect(logged).toContainEqual({ event: 'LLM_STREAM_REFUSED', code: 'rate_limited' });
  });

  it.each<[string, Prepare, string]>([
    [
      'throws',
      () => {
        throw new Error('the password is secret');
      },
      'failed',
    ],
    ['rejects', () => Promise.reject(new Error('the password is secret')), 'failed'],
    ['throws what is no error', () => Promise.reject('secret'), 'failed'],
    ['returns a misspelt field', () => ({ sytem: 'secret' }) as never, 'failed'],
    ['returns a wrong type', () => ({ options: { max_tokens: 'secret' } }) as never, 'failed'],
    [
      'throws an unknown code',
      () => {
        throw new StreamError('secret' as never, 'secret');
      },
      'failed',
    ],
  ])('that %s is a fault of the server, which tells nothing', async (_, prepare, reason) => {
    const { provider, prompts } = prompted();
    const { logger, logged } = keepingLogger();
    const { url } = await startServer(provider, { ...USERS, logger, prepare });
    const { terminal } = await answerTo(url);
    expect(terminal).toMatchObject({ code: 'internal' });
    const failed = logged.filter(({ event }) => event === 'LLM_HOOK_FAILED');
    expect(failed).toMatchObject([{ hook: 'prepare', reason }]);
    expect(JSON.stringify([terminal, failed])).not.toContain('secret');
    expect(prompts).toEqual([]);
  });

  it('says in the log where its result is wrong', async () => {
    const { logger, logged } = keepingLogger();
    const prepare = (() => ({ options: { maxTokens: 5 } })) as unknown as Prepare;
    const { url } = await startServer(prompted().provider, { ...USERS, logger, prepare });
    await answerTo(url);
    const { problems } = logged.find(({ event }) => event === 'LLM_HOOK_FAILED')!;
    expect(String(problems)).toMatch(/options.*maxTokens/);
  });

  it('that is slow holds back neither the reply nor the slot of the provider', async () => {
    const { prepare, calls, called } = heldHook();
    const { provider } = prompted();
    const providers = [providerConfigOf(provider, { concurrency: 1 })] as const;
    const server = await startServer(provider, { ...USERS, providers, prepare });
    const socket = connectAs(server.url, 'ann');
    const first = collect(socket);
    expect(await start(socket, 'A')).toMatchObject({ ok: true, status: 'waiting' });
    await called();
    const second = answerTo(server.url, 'bob', 'B');
    await called(2);
    expect(server.llm.providerStatus()[0]).toMatchObject({ running: 0, waiting: 0 });
    calls[1]!.give(undefined);
    expect((await second).text).toBe('Hello.');
    calls[0]!.give(undefined);
    expect((await first).text).toBe('Hello.');
  });

  it('has its signal aborted by a cancel, and its result is not used', async () => {
    const { prepare, calls, called } = heldHook();
    const { provider, prompts } = prompted();
    const { logger, logged } = keepingLogger();
    const { url } = await startServer(provider, { ...USERS, logger, prepare });
    const socket = connectAs(url, 'ann');
    const ended = collect(socket);
    await start(socket, 'A');
    await called();
    await socket.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    expect(calls[0]!.signal.aborted).toBe(true);
    expect((await ended).terminal).toMatchObject({ code: 'cancelled' });
    calls[0]!.give({ system: 'late' });
    const again = answerTo(url, 'ann', 'B');
    await called(2);
    calls[1]!.give(undefined);
    await again;
    expect(prompts).toHaveLength(1);
    expect(logged.filter(({ event }) => event === 'LLM_HOOK_FAILED')).toEqual([]);
  });

  it('that hangs ends the stream after 30 s, with its signal aborted', async () => {
    const { prepare, calls } = heldHook();
    const { logger, logged } = keepingLogger();
    const { url } = await startServer(prompted().provider, { ...USERS, logger, prepare });
    const socket = connectAs(url, 'ann');
    await next(socket, 'connect');
    const ended = collect(socket);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    socket.emit(EVENT.start, { query: 'q', stream_id: 'A' });
    while (calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(29_999);
    expect(calls[0]!.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(calls[0]!.signal.aborted).toBe(true);
    expect((await ended).terminal).toMatchObject({ code: 'internal' });
    expect(logged).toContainEqual(
      expect.objectContaining({ event: 'LLM_HOOK_FAILED', hook: 'prepare', reason: 'timeout' }),
    );
  });

  it('is not called again for a repeated start, which is known by what the client sent', async () => {
    const { prepare, calls, called } = heldHook();
    const { url } = await startServer(prompted().provider, { ...USERS, prepare });
    const [one, two] = [connectAs(url, 'ann'), connectAs(url, 'ann')];
    const ends = [collect(one), collect(two)];
    const { epoch } = await start(one, 'A');
    expect(await start(two, 'A')).toMatchObject({ ok: true, epoch });
    const conflict = await start(two, 'A', { query: 'other' });
    expect(conflict).toMatchObject({ ok: false, error: { code: 'conflict' } });
    await called();
    calls[0]!.give({ system: 'S' });
    for (const { text } of await Promise.all(ends)) expect(text).toBe('Hello.');
    expect(await start(two, 'A')).toMatchObject({ ok: true, epoch, status: 'ended' });
    expect(calls).toHaveLength(1);
  });

  it('cannot change the question of others, nor its result afterwards', async () => {
    const { provider, calls, nextCall } = stage();
    const result = { context: [{ role: 'user' as const, content: 'mine' }] };
    const { url } = await startServer(provider, {
      ...USERS,
      prepare({ request }) {
        request.query = 'changed';
        request.context![0]!.content = 'changed';
        // Once it has been read.
        setImmediate(() => (result.context[0]!.content = 'changed'));
        return result;
      },
    });
    const context = [{ role: 'user', content: 'Hi.' }];
    const answered = answerTo(url, 'ann', 'A', { context });
    const call = await nextCall();
    call.say('Hello.');
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls[0]!.prompt.messages.map((message) => 'text' in message && message.text)).toEqual([
      'mine',
      'Hi.',
      'q',
    ]);
    call.finish();
    await answered;
    expect(await start(connectAs(url, 'ann'), 'A', { context })).toMatchObject({ ok: true });
  });
});

describe('streams of one question that prepare made', () => {
  const shared: ServerOptions = { ...USERS, cache: { scope: 'shared' } };

  it('alike share a generation, at whatever time it prepared them', async () => {
    const { prepare, calls: hooks, called } = heldHook();
    const { provider, calls, nextCall } = stage();
    const { url } = await startServer(provider, { ...shared, prepare });
    const [ann, bob] = [connectAs(url, 'ann'), connectAs(url, 'bob')];
    const ends = [collect(ann), collect(bob)];
    await Promise.all([start(ann, 'A'), start(bob, 'B')]);
    await called(2);
    hooks[0]!.give({ system: 'S' });
    const call = await nextCall();
    const begun = next(bob, EVENT.chunk);
    call.say('Where a river ');
    hooks[1]!.give({ system: 'S' });
    await begun;
    await ann.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    call.say('ends.');
    call.finish();
    const texts = (await Promise.all(ends)).map(({ text }) => text);
    expect(texts.sort()).toEqual(['Where a river ', 'Where a river ends.']);
    expect(calls).toHaveLength(1);
  });

  it.each<[string, Prepare]>([
    ['another system prompt', ({ sessionId = '' }) => ({ system: sessionId })],
    ['another model', ({ sessionId = '' }) => ({ models: { stage: sessionId } })],
    [
      'another context',
      ({ sessionId }) => ({ context: [{ role: 'user', content: `I am ${sessionId}.` }] }),
    ],
    ['other options', ({ sessionId = '' }) => ({ options: { seed: sessionId.length } })],
    ['other tools', ({ sessionId }) => ({ tools: sessionId === 'ann' ? [] : ['read'] })],
  ])('different by %s share neither generation nor cached answer', async (_, prepare) => {
    const { provider, calls, nextCall } = stage();
    const withModel = (model: string) => ({ ...provider, model });
    const options = { ...shared, tools: [tool('read')], prepare };
    const { url } = await startServer({ ...provider, withModel }, options);
    // Of one user, whose streams share a generation also where tools are offered.
    const ask = (id: string, session: string) => answerTo(url, 'me', id, { session_id: session });
    const answers = [ask('A', 'ann'), ask('B', 'robert')];
    for (const call of [await nextCall(), await nextCall()]) {
      call.say(`Answer ${calls.indexOf(call)}.`);
      call.finish();
    }
    const texts = (await Promise.all(answers)).map(({ text }) => text);
    expect(new Set(texts)).toEqual(new Set(['Answer 0.', 'Answer 1.']));
    const again = await Promise.all([ask('C', 'ann'), ask('D', 'robert')]);
    expect(again.map(({ text }) => text)).toEqual(texts);
    expect(calls).toHaveLength(2);
  });

  it('alike are not shared between users where the cache is private', async () => {
    const { provider, nextCall, calls } = stage();
    const { url } = await startServer(provider, { ...USERS, prepare: () => ({ system: 'S' }) });
    await Promise.all([start(connectAs(url, 'ann'), 'A'), start(connectAs(url, 'bob'), 'A')]);
    await nextCall();
    await nextCall();
    expect(calls).toHaveLength(2);
  });
});
