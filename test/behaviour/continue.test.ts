import {
  currentTime,
  docs,
  gemini,
  type GenerateRequest,
  mockProvider,
  ollama,
  type Prompt,
  type Provider,
  ProviderError,
} from '@rivulet/server';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { answerTo } from '../fakes/shared.js';
import { type RunningFake, startFake } from '../harness/fakes.js';
import { providersOf } from '../harness/providers.js';
import { startServer } from '../harness/rivulet.js';
import { sdk, staged } from '../harness/sdk.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { createStorage } from '../harness/storage.js';
import { answer as say } from '../harness/tools.js';

const QUERY = 'the length of a river 🦊';
const WHOLE = answerTo(QUERY);
const CAN = { canContinue: true };
const ASK = { query: 'q', continueText: 'The capital of Fra' };

/** The index at which the text is cut, and a note if this position is special. */
const CUTS: [string, number][] = [
  ['after the first letter', 1],
  ['in the middle of a word', WHOLE.indexOf('measured') + 4],
  ['after a space', WHOLE.indexOf('short answer')],
  ['before a space', WHOLE.indexOf(' short answer')],
  ['before a line feed', WHOLE.indexOf('\n\n')],
  ['between two line feeds', WHOLE.indexOf('\n\n') + 1],
  ['after two line feeds', WHOLE.indexOf('\n\n') + 2],
  ['before an emoji', WHOLE.indexOf('🌊')],
  ['inside of an emoji', WHOLE.indexOf('🌊') + 1],
  ['after an emoji', WHOLE.indexOf('🦊') + 2],
  ['before the last unit', WHOLE.length - 1],
];

describe.each(['gemini', 'ollama'] as const)('a text that %s continues', (name) => {
  let fake: RunningFake;
  beforeAll(async () => {
    fake = await startFake(name);
  });
  afterAll(() => fake.stop());

  function provider(model: string): Provider {
    return name === 'gemini'
      ? gemini({ apiKey: 'k', model, baseUrl: fake.url })
      : ollama({ host: fake.url, model });
  }

  it.each(CUTS)('is joined exactly where it was cut %s', async (_, at) => {
    const client = sdk((await startServer(provider('llama3.2'))).url);
    const continueText = WHOLE.slice(0, at);
    const { text, status, finishReason } = await client.start({ query: QUERY, continueText })
      .result;
    expect([status, finishReason]).toEqual(['done', 'stop']);
    expect(continueText + text).toBe(WHOLE);
    expect(text).toBe(WHOLE.slice(at));
  });

  it('is complete where the model has nothing to add, and is asked for again', async () => {
    const { url } = await startServer(provider('llama3.2'));
    const { requests } = await fake.stats();
    const client = sdk(url, { cache: { storage: createStorage() } });
    for (const id of [1, 2]) {
      const request = { query: QUERY, continueText: WHOLE };
      const done = await client.start(request).result;
      expect(done).toMatchObject({ status: 'done', text: '', finishReason: 'stop' });
      expect((await fake.stats()).requests).toBe(requests + id);
    }
  });

  it('stays where the conversation is cut to the context of the model', async () => {
    const model = name === 'gemini' ? 'gemini-tiny' : 'stories';
    const { url } = await startServer(provider(model));
    const context = [
      { role: 'user', content: 'Earlier? '.repeat(150) },
      { role: 'assistant', content: 'Before. '.repeat(150) },
    ] as const;
    const continueText = WHOLE.slice(0, 40);
    const done = await sdk(url).start({ query: QUERY, context, continueText }).result;
    expect(done).toMatchObject({ status: 'done', omittedMessages: 2 });
    expect(continueText + done.text).toBe(WHOLE);
  });

  it('has no thoughts in tags: text came before them', async () => {
    if (name !== 'ollama') return;
    const { url } = await startServer(provider('llama3.2'));
    const done = await sdk(url).start({ query: 'think-tags', continueText: 'So' }).result;
    expect(done.text).toBe('\n<think>Let me think. Yes.</think>\n\nIt is so.');
  });
});

/** Asks a service whose provider the test plays, with a tool that the model may call. */
function playing(options: Parameters<typeof serviceOf>[1] = {}) {
  const { provider, calls, nextCall } = stage();
  const llm = serviceOf(provider, { tools: [currentTime()], ...options });
  const ask = (request: GenerateRequest = ASK) => entriesOf(llm.generateResponseStream(request));
  return { ask, calls, nextCall };
}

describe('a text that is continued', () => {
  it('is the last message of the prompt, and the model is offered no tools', async () => {
    const { ask, nextCall } = playing();
    const entries = ask({ ...ASK, context: [{ role: 'user', content: 'Before' }] });
    const call = await nextCall();
    expect(call.prompt.continues).toBe(true);
    expect(call.prompt.tools).toBeUndefined();
    expect(call.prompt.messages).toEqual([
      { role: 'user', text: 'Before' },
      { role: 'user', text: 'q' },
      { role: 'assistant', text: ASK.continueText },
    ]);
    say(call, 'nce');
    expect(textOf(await entries)).toBe('nce');
  });

  it('shows white space as soon as it comes, and may have nothing else', async () => {
    const { ask, nextCall } = playing();
    const entries = ask();
    const call = await nextCall();
    call.say(' ');
    call.say('\n');
    call.finish();
    expect(textOf(await entries)).toBe(' \n');
    expect((await entries).at(-1)).toMatchObject({ type: 'end', totalLength: 2 });
  });

  it.each(['length', 'other'] as const)(
    'fails where the model ends with `%s` before any text',
    async (reason) => {
      const { ask, nextCall } = playing();
      const entries = ask();
      (await nextCall()).finish(reason);
      expect((await entries).at(-1)).toMatchObject({ type: 'error' });
    },
  );

  it('is continued by the next provider, too, when one fails after text', async () => {
    const cut = new ProviderError('truncated', 'unable to go on: cut');
    const api = mockProvider(() => [{ text: 'nce is Lon' }, { fail: cut }], CAN);
    const prompts: Prompt[] = [];
    const local = mockProvider((prompt) => {
      prompts.push(prompt);
      return [{ text: 'nce is Paris.' }, { finish: 'stop' as const }];
    }, CAN);
    const entries = await entriesOf(serviceOf([api, local]).generateResponseStream(ASK));
    expect(entries.map(({ type }) => type)).toEqual(['start', 'text', 'start', 'text', 'end']);
    expect(prompts[0]?.messages.at(-1)).toEqual({ role: 'assistant', text: ASK.continueText });
  });

  it('is a part of the key of the server’s cache', async () => {
    const { ask, calls, nextCall } = playing();
    const requests = [ASK, { ...ASK, continueText: 'The' }, { query: 'q' }];
    for (const [i, request] of requests.entries()) {
      const entries = ask(request);
      say(await nextCall(), `answer ${i}`);
      await entries;
    }
    for (const [i, request] of requests.entries()) {
      const entries = await ask(request);
      expect(entries[0]).toMatchObject({ type: 'start', source: 'cache' });
      expect(textOf(entries)).toBe(`answer ${i}`);
    }
    expect(calls).toHaveLength(3);
  });

  it('is a part of the key of the browser’s cache', async () => {
    const { server, nextCall, calls } = await staged({ cache: { enabled: false } });
    const storage = createStorage();
    const client = sdk(server.url, { cache: { storage } });
    const requests = [ASK, { ...ASK, continueText: 'The' }, { query: 'q' }];
    for (const [i, request] of requests.entries()) {
      const { result } = client.start(request);
      say(await nextCall(), `answer ${i}`);
      await result;
      await vi.waitFor(() => expect(storage.valuesOf('b:')).toHaveLength(i + 1));
    }
    for (const [i, request] of requests.entries()) {
      const kept = { source: 'browser-cache', text: `answer ${i}` };
      expect(await client.start(request).result).toMatchObject(kept);
    }
    expect(calls).toHaveLength(3);
  });

  it('is shared by those who ask the same at the same time, and by nobody else', async () => {
    const { server, nextCall, calls } = await staged();
    const ask = (continueText: string) => sdk(server.url).start({ query: 'q', continueText });
    const [one, two] = [ask('So'), ask('So')];
    const first = await nextCall();
    const other = ask('No');
    const second = await nextCall();
    say(first, ' far.');
    say(second, ' more.');
    const texts = await Promise.all(
      [one, two, other].map(async ({ result }) => (await result).text),
    );
    expect(texts).toEqual([' far.', ' far.', ' more.']);
    expect(calls).toHaveLength(2);
  });

  it('is shown to the hooks', async () => {
    const seen: (string | undefined)[] = [];
    const { client, nextCall } = await staged({
      prepare: ({ request }) => void seen.push(request.continueText),
      onEnd: ({ request, text }) => void seen.push(request.continueText, text),
    });
    const { result } = client.start(ASK);
    say(await nextCall(), 'nce');
    await result;
    await vi.waitFor(() => expect(seen).toEqual([ASK.continueText, ASK.continueText, 'nce']));
  });
});

describe('a provider that cannot continue a text', () => {
  const deaf = (name: string, prompts: Prompt[]): Provider =>
    mockProvider(
      (prompt) => {
        prompts.push(prompt);
        return [{ text: 'Anew.' }, { finish: 'stop' as const }];
      },
      { name },
    );

  it.each(['of an application', 'the documentation search'])(
    'has the answer fail as `unsupported`: %s',
    async (which) => {
      const prompts: Prompt[] = [];
      const provider = which === 'of an application' ? deaf('own', prompts) : docs({ wordMs: 0 });
      const { url } = await startServer(provider);
      await expect(sdk(url).start(ASK).result).rejects.toMatchObject({
        code: 'unsupported',
        retryable: false,
        message: expect.stringMatching(/^unable to continue the text: /),
      });
      expect(prompts).toEqual([]);
    },
  );

  it('is passed over for one that can', async () => {
    const prompts: Prompt[] = [];
    const able = mockProvider(() => [{ text: 'nce' }, { finish: 'stop' as const }], CAN);
    const providers = providersOf(deaf('own', prompts), able);
    const { url } = await startServer(able, { providers });
    expect((await sdk(url).start(ASK).result).text).toBe('nce');
    expect(prompts).toEqual([]);
    // Other questions are its own.
    expect((await sdk(url).start({ query: 'q' }).result).text).toBe('Anew.');
  });
});
