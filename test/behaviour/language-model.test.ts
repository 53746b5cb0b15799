import { inspect } from 'node:util';
import {
  type AiSdkModel,
  createServer,
  currentTime,
  languageModel,
  type Prompt,
  type Provider,
  searchDocs,
} from '@rivulet/server';
import { createGoogleGenerativeAI as google5 } from 'ai-sdk-google-2';
import { createGoogleGenerativeAI as google6 } from 'ai-sdk-google-3';
import { createGoogleGenerativeAI as google7 } from 'ai-sdk-google-4';
import { createOpenAICompatible as compatible5 } from 'ai-sdk-openai-compatible-1';
import { createOpenAICompatible as compatible6 } from 'ai-sdk-openai-compatible-2';
import { createOpenAICompatible as compatible7 } from 'ai-sdk-openai-compatible-3';
import { createOllama } from 'ollama-ai-provider-v2';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { answerTo, type FakeName } from '../fakes/shared.js';
import { hear, type RunningFake, startFake, toPrompt, unusedUrl } from '../harness/fakes.js';
import { describeLeaving } from '../harness/leaving.js';
import { recorded } from '../harness/log.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { toolEntries } from '../harness/tools.js';

const KEY = 'sk-key-that-stays-here';
const SECRET = 'xyzzy plugh';
const BEGUN = 'This is how it begins. ';
const FOR_VISITORS = /^unable to [a-z ]+: [a-z ;]+$/;

const NOON = new Date('2026-07-01T12:00:00Z');
const SECTIONS = [
  { id: 1, file: 'A.md', page: 'A', title: 'Offsets', slug: 'offsets', body: 'A place.' },
];
const TOOLS = [searchDocs({ sections: SECTIONS }), currentTime({ now: () => NOON })];

const ofGoogle = (url: string) => ({ apiKey: KEY, baseURL: `${url}/v1beta` });
const ofCompatible = (url: string) => ({
  name: 'compatible',
  apiKey: KEY,
  baseURL: `${url}/v1`,
  includeUsage: true,
});

/** The package, the fake that it is pointed at, and a model of it. */
const PACKAGES: readonly (readonly [
  name: string,
  fake: FakeName,
  create: (url: string, model?: string) => AiSdkModel,
])[] = [
  [
    '@ai-sdk/google 2',
    'gemini',
    (url, model = 'gemini-2.5-flash') => google5(ofGoogle(url))(model),
  ],
  [
    '@ai-sdk/google 3',
    'gemini',
    (url, model = 'gemini-2.5-flash') => google6(ofGoogle(url))(model),
  ],
  [
    '@ai-sdk/google 4',
    'gemini',
    (url, model = 'gemini-2.5-flash') => google7(ofGoogle(url))(model),
  ],
  [
    '@ai-sdk/openai-compatible 1',
    'openai',
    (url, model = 'stories') => compatible5(ofCompatible(url))(model),
  ],
  [
    '@ai-sdk/openai-compatible 2',
    'openai',
    (url, model = 'stories') => compatible6(ofCompatible(url))(model),
  ],
  [
    '@ai-sdk/openai-compatible 3',
    'openai',
    (url, model = 'llamacpp-m') => compatible7(ofCompatible(url))(model),
  ],
  [
    'ollama-ai-provider-v2',
    'ollama',
    (url, model = 'llama3.2') => createOllama({ baseURL: `${url}/api` })(model),
  ],
];

/** Beside those that are the same on every wire. */
const FAILURES: Readonly<Record<FakeName, readonly (readonly [string, string, RegExp])[]>> = {
  gemini: [
    ['400', 'bad_request', /HTTP 400: Request contains an invalid argument\.$/],
    ['400-key', 'misconfigured', /HTTP 400\. Check the API key of google$/],
    ['403', 'misconfigured', /HTTP 403\. Check the API key of google$/],
    ['404', 'misconfigured', /is not found .*Check the model and the URL of google$/],
    ['429', 'busy', /HTTP 429: You exceeded/],
    ['503', 'unavailable', /HTTP 503: The model is overloaded/],
    ['blocked', 'content_filter', /safety rules of google/],
  ],
  openai: [
    ['400', 'bad_request', /HTTP 400: Invalid 'temperature'/],
    ['401', 'misconfigured', /HTTP 401\. Check the API key of compatible$/],
    ['404', 'misconfigured', /not found\. Check the model and the URL of compatible$/],
    ['500', 'unavailable', /HTTP 500: litellm/],
    ['error-first', 'unavailable', /Provider disconnected$/],
  ],
  // The package reads no words.
  ollama: [
    ['400', 'bad_request', /HTTP 400: Bad Request$/],
    ['404', 'misconfigured', /HTTP 404: Not Found\. Check the model/],
    ['500', 'unavailable', /HTTP 500/],
    ['error-first', 'truncated', /AI_TypeValidationError/],
  ],
};
const BROKEN = ['error-frame', 'junk-frame', 'silent-end', 'cut'];

const fakes = new Map<FakeName, RunningFake>();

beforeAll(async () => {
  for (const name of ['gemini', 'openai', 'ollama'] as const) {
    fakes.set(name, await startFake(name));
  }
});

afterAll(() => Promise.all([...fakes.values()].map((fake) => fake.stop())));

describe.each(PACKAGES)('a model of %s', (label, fakeName, create) => {
  const fake = (): RunningFake => fakes.get(fakeName)!;
  const provider = (): Provider => languageModel(create(fake().url));

  it('answers whole and in order, with usage', async () => {
    const { text, deltas, error } = await hear(provider(), 'why is the sky blue?');
    expect(error).toBeUndefined();
    expect(text).toBe(answerTo('why is the sky blue?'));
    expect(deltas.length).toBeGreaterThan(20);
    const hasUsage = label !== '@ai-sdk/openai-compatible 3';
    expect(deltas.at(-1)).toMatchObject({
      type: 'finish',
      reason: 'stop',
      usage: hasUsage
        ? { input_tokens: expect.any(Number), output_tokens: expect.any(Number) }
        : {},
    });
  });

  it('gives its thoughts apart from the text', async () => {
    const { deltas, text } = await hear(provider(), 'thoughts');
    // In a line with both, the package of Ollama gives the text first.
    expect(deltas.filter(({ type }) => type === 'thought')).toEqual([
      { type: 'thought', text: 'Let me think. ' },
      { type: 'thought', text: 'Yes.' },
    ]);
    expect(text).toBe('It is so.');
  });

  it('is asked with the system text, the roles and the limits', async () => {
    const { text, error } = await hear(provider(), {
      system: 'Be brief.',
      messages: [
        { role: 'user', text: 'hi' },
        { role: 'assistant', text: 'hello' },
        { role: 'user', text: 'stop at once' },
        { role: 'assistant', text: '' },
        { role: 'user', text: 'echo' },
      ],
      temperature: 0.5,
      topP: 0.25,
      topK: 3,
      maxTokens: 64,
      stop: ['END'],
      seed: 7,
    });
    expect(error).toBeUndefined();
    const parts = ['Be brief.', 'hi', 'hello', '0.5', '0.25', '64'];
    // The package of Ollama leaves these out.
    if (fakeName !== 'ollama') parts.push('END', ':7');
    for (const part of parts) expect(text).toContain(part);
    expect(text.match(/"role":"(?:assistant|model)"/g)).toHaveLength(1);
  });

  it.each(['tool-once', 'tool-two', 'tool-two-frames', 'tool-two-turns'])(
    'calls tools, is told their results, and answers: %s',
    async (query) => {
      const llm = serviceOf(provider(), { tools: TOOLS });
      const entries = await entriesOf(llm.generateResponseStream({ query }));
      expect(entries.at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
      const called = toolEntries(entries).filter(({ type }) => type === 'tool_call');
      expect(called).toMatchObject([
        { name: 'search_docs', arguments: { query: 'offset' } },
        ...(query === 'tool-once'
          ? []
          : [{ name: 'current_time', arguments: { time_zone: 'Europe/Berlin' } }]),
      ]);
      expect(textOf(entries)).toMatch(/^Let me look\.\n\nThe tools gave .*A place\./);
    },
  );

  it('is told what was wrong with its call', async () => {
    const llm = serviceOf(provider(), { tools: TOOLS });
    const entries = await entriesOf(llm.generateResponseStream({ query: 'tool-bad-arguments' }));
    expect(textOf(entries)).toContain('the arguments are wrong: query: ');
  });

  it('stops calling when it is told to', async () => {
    const llm = serviceOf(provider(), { tools: TOOLS, limits: { maxToolRounds: 2 } });
    const entries = await entriesOf(llm.generateResponseStream({ query: 'tool-endless' }));
    // The package of Ollama offers the tools all the same.
    expect(entries.at(-1)).toMatchObject(
      fakeName === 'ollama' ? { type: 'error', code: 'tool_limit' } : { type: 'end' },
    );
  });

  it.each(FAILURES[fakeName])('fails at %s as "%s"', async (question, failure, detail) => {
    const { deltas, error } = await hear(provider(), question);
    expect(deltas.filter(({ type }) => type === 'text')).toEqual([]);
    expect(error).toMatchObject({ name: 'ProviderError', failure });
    expect(error).toHaveProperty('detail', expect.stringMatching(detail));
    expect(error).toHaveProperty('message', expect.stringMatching(FOR_VISITORS));
  });

  it('is not reached where nobody listens', async () => {
    const { error } = await hear(languageModel(create(await unusedUrl())), 'hello');
    expect(error).toMatchObject({
      failure: 'unavailable',
      detail: expect.stringMatching(/: connection refused\. Check the network/),
    });
  });

  it.each(['html-200', 'silent-end-first'])(
    'never gives an empty answer (%s)',
    async (question) => {
      const { text, error } = await hear(provider(), question);
      expect(text).toBe('');
      expect(error).toHaveProperty('failure', expect.stringMatching(/^(?:unavailable|truncated)$/));
    },
  );

  it.each(BROKEN)('fails in the middle of the text after what came (%s)', async (question) => {
    const { text, deltas, error } = await hear(provider(), question);
    if (question === 'cut') expect(BEGUN.startsWith(text)).toBe(true);
    else expect(text).toBe(BEGUN);
    expect(deltas.some(({ type }) => type === 'finish')).toBe(false);
    expect(error).toHaveProperty('failure', expect.stringMatching(/^(?:unavailable|truncated)$/));
    if (question === 'cut') expect(error).toMatchObject({ failure: 'truncated' });
  });

  it.each(['leak', 'leak key', 'junk-frame', '400', 'error-frame', 'cut'])(
    'repeats neither key nor prompt nor answer: %s',
    async (fault) => {
      const question = fault.replace(/^(\S+)/, `$1 ${SECRET}`);
      const { error } = await hear(provider(), question);
      const shown = inspect(error, { depth: 10, showHidden: true });
      expect(error).toHaveProperty('name', 'ProviderError');
      expect(shown).not.toContain(KEY);
      expect(shown).not.toContain(SECRET);
      expect(shown).not.toContain('This is');
    },
  );
});

describe('a model of the AI SDK that says when to come back', () => {
  it.each(PACKAGES.filter(([, fake]) => fake === 'openai'))('%s', async (_, fake, create) => {
    const { error } = await hear(languageModel(create(fakes.get(fake)!.url)), '429');
    expect(error).toMatchObject({ failure: 'busy', retryAfterMs: 37_000 });
  });
});

describe('a conversation that is too long for a model of the AI SDK', () => {
  const history = Array.from({ length: 60 }, (_, i) => [
    { role: 'user' as const, text: `${i} `.padEnd(100, 'word ') },
    { role: 'assistant' as const, text: `${i} `.padEnd(100, 'word ') },
  ]).flat();

  it.each([
    ['gemini', 'gemini-tiny'],
    ['openai', 'gpt-tiny'],
  ] as const)('is asked without its oldest messages (%s)', async (name, model) => {
    const [, , create] = PACKAGES.find(([, fake]) => fake === name)!;
    const { deltas, error } = await hear(languageModel(create(fakes.get(name)!.url, model)), {
      ...toPrompt(''),
      messages: [...history, { role: 'user', text: 'echo' }],
    });
    expect(error).toBeUndefined();
    expect(deltas[0]).toMatchObject({ type: 'omitted', messages: expect.any(Number) });
  });
});

describe.each(PACKAGES.filter(([label]) => /google 3|compatible [13]|ollama/.test(label)))(
  '%s',
  (label, fakeName, create) => {
    let provider: Provider;
    beforeAll(() => {
      provider = languageModel(create(fakes.get(fakeName)!.url));
    });
    describeLeaving(
      label,
      () => fakes.get(fakeName)!,
      () => provider,
    );
  },
);

it('is a provider of createServer, by the name of its package', async () => {
  const model = compatible6(ofCompatible(fakes.get('openai')!.url))('stories');
  const server = await createServer({
    env: { LOG_LEVEL: 'silent' },
    providers: [{ provider: languageModel(model) }],
  });
  onTestFinished(() => server.close());
  expect(server.providers).toEqual(['compatible']);
  const entries = await entriesOf(server.llm.generateResponseStream({ query: 'hello' }));
  expect(entries[0]).toMatchObject({ provider: 'compatible', model: 'stories' });
  expect(textOf(entries)).toBe(answerTo('hello'));
});

/** A model whose stream has these parts, and then ends, or stays open. */
function modelOf(
  parts: readonly unknown[],
  { version = 'v3', isOpen = false }: { version?: 'v2' | 'v3' | 'v4'; isOpen?: boolean } = {},
) {
  const calls: Record<string, unknown>[] = [];
  let cancelled = 0;
  const model = {
    specificationVersion: version,
    provider: 'own.chat',
    modelId: 'm',
    doStream(options: Record<string, unknown>) {
      calls.push(options);
      const stream = new ReadableStream<unknown>({
        start(controller) {
          for (const part of parts) controller.enqueue(part);
          if (!isOpen) controller.close();
        },
        cancel() {
          cancelled++;
        },
      });
      return Promise.resolve({ stream });
    },
  };
  return { model, calls, cancelled: () => cancelled };
}

const textPart = (delta: string) => ({ type: 'text-delta', id: '1', delta });
const finish = (unified = 'stop', raw: string | undefined = unified) => ({
  type: 'finish',
  finishReason: { unified, raw },
  usage: { inputTokens: { total: 3 }, outputTokens: { total: 4 } },
});
const asking = (prompt: Partial<Prompt> = {}): Prompt => ({ ...toPrompt('hello'), ...prompt });
const tools = [{ name: 't', description: 'T.', parameters: { type: 'object' } }];

describe('a model of the AI SDK', () => {
  it.each([
    ['v2', 'stop', 'stop'],
    ['v2', 'tool-calls', 'stop'],
    ['v2', 'length', 'length'],
    ['v2', 'other', 'other'],
    ['v3', { unified: 'stop', raw: 'STOP' }, 'stop'],
    ['v3', { unified: 'tool-calls', raw: 'x' }, 'stop'],
    ['v4', { unified: 'length', raw: 'x' }, 'length'],
    ['v4', { unified: 'other', raw: 'TIRED' }, 'other'],
  ] as const)(
    'of %s that ends with %j finishes with "%s"',
    async (version, finishReason, reason) => {
      const usage =
        version === 'v2'
          ? { inputTokens: 3, outputTokens: undefined, totalTokens: 3 }
          : { inputTokens: { total: 3 }, outputTokens: { total: undefined } };
      const { model } = modelOf([textPart('a'), { type: 'finish', finishReason, usage }], {
        version,
      });
      expect((await hear(languageModel(model), 'hello')).deltas).toEqual([
        { type: 'text', text: 'a' },
        { type: 'finish', reason, usage: { input_tokens: 3 } },
      ]);
    },
  );

  it.each([
    ['unknown', 'truncated'],
    ['error', 'unavailable'],
    ['content-filter', 'content_filter'],
    [{ unified: 'other', raw: undefined }, 'truncated'],
    [{ unified: 'interrupted', raw: 'x' }, 'truncated'],
    [{ unified: 'error', raw: 'x' }, 'unavailable'],
    [{ unified: 'content-filter', raw: 'x' }, 'content_filter'],
    [undefined, 'truncated'],
  ])('that ends with %j fails as "%s" after the text so far', async (finishReason, failure) => {
    const end = finishReason === undefined ? [] : [{ type: 'finish', finishReason }];
    const heard = await hear(languageModel(modelOf([textPart('so far'), ...end]).model), 'hello');
    expect(heard.text).toBe('so far');
    expect(heard.error).toMatchObject({ failure });
  });

  it('has its warnings and the parts that are left out logged once each', async () => {
    const log = recorded();
    const { model } = modelOf([
      {
        type: 'stream-start',
        warnings: [
          { type: 'unsupported-setting', setting: 'topK', details: 'no top k' },
          { type: 'unsupported', feature: 'seed' },
          { type: 'other', message: 'hello there, is what you asked' },
        ],
      },
      { type: 'raw', rawValue: 1 },
      { type: 'ping' },
      { type: 'file', mediaType: 'image/png', data: 'iVBOR' },
      { type: 'source', sourceType: 'url', id: '1', url: 'https://x.example' },
      { type: 'tool-call', toolCallId: 'p', toolName: 'web', input: '{}', providerExecuted: true },
      { type: 'tool-result', toolCallId: 'p', toolName: 'web', result: 1 },
      { type: 'hologram' },
      null,
      'junk',
      textPart('Done.'),
      finish(),
    ]);
    const provider = languageModel(model, { logger: log.logger });
    for (let i = 0; i < 2; i++) {
      const { text: all, deltas, error } = await hear(provider, 'is what you asked');
      expect(error).toBeUndefined();
      expect(all).toBe('Done.');
      expect(deltas.filter(({ type }) => type === 'tool_call')).toEqual([]);
    }
    const common = { provider: 'own', model: 'm' };
    const ignored = (part: string) => ({ event: 'LANGUAGE_MODEL_PART_IGNORED', ...common, part });
    expect(log.events).toMatchObject([
      { event: 'LANGUAGE_MODEL_WARNING', ...common, about: 'topK', words: 'no top k' },
      { event: 'LANGUAGE_MODEL_WARNING', ...common, about: 'seed' },
      { event: 'LANGUAGE_MODEL_WARNING', ...common, type: 'other', words: '' },
      ignored('file'),
      ignored('source'),
      ignored('provider-executed tool-call'),
      ignored('tool-result'),
      ignored('hologram'),
    ]);
  });

  it('bounds what is logged, whatever a model sends', async () => {
    const log = recorded();
    const kinds = Array.from({ length: 1_000 }, (_, i) => ({ type: `kind-${i}` }));
    const { model } = modelOf([...kinds, textPart('a'), finish()]);
    await hear(languageModel(model, { logger: log.logger }), 'hello');
    expect(log.events).toHaveLength(50);
  });

  it('shows a sign of life while the arguments of a call come', async () => {
    const { model } = modelOf([
      { type: 'tool-input-start', id: 'c', toolName: 't' },
      { type: 'tool-input-delta', id: 'c', delta: '{"a"' },
      { type: 'tool-input-end', id: 'c' },
      { type: 'tool-call', toolCallId: 'c', toolName: 't', input: '{"a":1}' },
      { type: 'tool-call', toolCallId: 'd', toolName: 't', input: '{"a":' },
      finish('tool-calls'),
    ]);
    const { deltas } = await hear(languageModel(model), asking({ tools }));
    expect(deltas.slice(0, -1)).toEqual([
      { type: 'working' },
      { type: 'working' },
      { type: 'working' },
      { type: 'tool_call', providerId: 'c', name: 't', arguments: { a: 1 } },
      { type: 'tool_call', providerId: 'd', name: 't', arguments: '{"a":' },
    ]);
  });

  it('is given its own turn back with what it said of each part, and another model is not', async () => {
    const { model, calls } = modelOf([
      { type: 'reasoning-start', id: '1' },
      { type: 'reasoning-delta', id: '1', delta: 'Which ' },
      { type: 'reasoning-delta', id: '1', delta: 'tool?' },
      { type: 'reasoning-end', id: '1', providerMetadata: { own: { signature: 'a' } } },
      { type: 'text-start', id: '1' },
      textPart('Let me '),
      textPart('look.'),
      { type: 'text-end', id: '1' },
      { type: 'text-start', id: '1' },
      { type: 'text-end', id: '1' },
      {
        type: 'tool-call',
        toolCallId: 'c',
        toolName: 't',
        input: '{}',
        providerMetadata: { own: { signature: 'b' } },
      },
      finish('tool-calls'),
    ]);
    const { deltas } = await hear(languageModel(model), asking({ tools }));
    const last = deltas.at(-1);
    const raw = last?.type === 'finish' ? last.raw! : undefined;
    const messages: Prompt['messages'] = [
      { role: 'user', text: 'hello' },
      {
        role: 'assistant',
        text: 'Let me look.',
        raw: raw!,
        toolCalls: [{ callId: 'call-1', providerId: 'c', name: 't', arguments: {} }],
      },
      { role: 'tool', results: [{ callId: 'call-1', name: 't', result: { b: 2 } }] },
    ];
    await hear(languageModel(model), asking({ messages, tools, toolChoice: 'none' }));
    expect(calls[1]).toMatchObject({
      tools: [{ type: 'function', name: 't', inputSchema: { type: 'object' } }],
      toolChoice: { type: 'none' },
    });
    const result = {
      role: 'tool',
      content: [
        {
          type: 'tool-result',
          toolCallId: 'c',
          toolName: 't',
          output: { type: 'json', value: { b: 2 } },
        },
      ],
    };
    expect((calls[1]!['prompt'] as unknown[]).slice(1)).toEqual([
      {
        role: 'assistant',
        content: [
          { type: 'reasoning', text: 'Which tool?', providerOptions: { own: { signature: 'a' } } },
          { type: 'text', text: 'Let me look.' },
          {
            type: 'tool-call',
            toolCallId: 'c',
            toolName: 't',
            input: {},
            providerOptions: { own: { signature: 'b' } },
          },
        ],
      },
      result,
    ]);
    await hear(languageModel({ ...model, modelId: 'other' }), asking({ messages, tools }));
    expect((calls[2]!['prompt'] as unknown[]).slice(1)).toEqual([
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'Let me look.' },
          { type: 'tool-call', toolCallId: 'c', toolName: 't', input: {} },
        ],
      },
      result,
    ]);
  });

  it('is told what a tool failed with, and given the options of its provider', async () => {
    const { model, calls } = modelOf([textPart('a'), finish()]);
    const providerOptions = { own: { effort: 'low' } };
    const messages: Prompt['messages'] = [
      { role: 'user', text: 'hello' },
      { role: 'assistant', text: '', toolCalls: [{ callId: 'call-1', name: 't', arguments: {} }] },
      {
        role: 'tool',
        results: [
          { callId: 'call-1', name: 't', error: 'no such city' },
          { callId: 'call-2', name: 't', result: 'sunny' },
        ],
      },
    ];
    await hear(languageModel(model, { providerOptions, name: 'mine' }), asking({ messages }));
    expect(languageModel(model, { name: 'mine' }).name).toBe('mine');
    expect(calls[0]).toMatchObject({ providerOptions });
    expect(calls[0]).not.toHaveProperty('tools');
    expect((calls[0]!['prompt'] as unknown[])[2]).toEqual({
      role: 'tool',
      content: [
        {
          type: 'tool-result',
          toolCallId: 'call-1',
          toolName: 't',
          output: { type: 'error-text', value: 'no such city' },
        },
        {
          type: 'tool-result',
          toolCallId: 'call-2',
          toolName: 't',
          output: { type: 'text', value: 'sunny' },
        },
      ],
    });
  });

  const named = (name: string): Error => Object.assign(new Error(SECRET), { name });
  const call = (statusCode: number | undefined, more: object = {}): Error =>
    Object.assign(new Error(`refused: ${SECRET}`), { statusCode, isRetryable: true, ...more });

  it.each([
    [named('AI_LoadAPIKeyError'), 'misconfigured'],
    [named('AI_NoSuchModelError'), 'misconfigured'],
    [named('AI_UnsupportedFunctionalityError'), 'bad_request'],
    [named('AI_InvalidPromptError'), 'bad_request'],
    [named('AI_TypeValidationError'), 'truncated'],
    [call(undefined, { cause: Object.assign(new Error(), { code: 'ECONNRESET' }) }), 'unavailable'],
    [call(400), 'bad_request'],
    [call(401), 'misconfigured'],
    [call(429), 'busy'],
    [call(529), 'unavailable'],
    [new Error(SECRET), 'unavailable'],
    [SECRET, 'unavailable'],
    [undefined, 'unavailable'],
  ])('whose call fails with %s fails as "%s", without its words', async (error, failure) => {
    const { model } = modelOf([]);
    // A model may throw at once, too.
    const thrown = {
      ...model,
      doStream: () => {
        throw error;
      },
    };
    const rejected = {
      ...model,
      doStream: async () => {
        throw error;
      },
    };
    for (const failing of [thrown, rejected]) {
      const heard = await hear(languageModel(failing), SECRET);
      expect(heard.error).toMatchObject({ name: 'ProviderError', failure });
      expect(inspect(heard.error, { depth: 10 })).not.toContain(SECRET);
    }
  });

  it.each([
    [call(400, { message: 'the model has crashed' }), 'unavailable', /the model has crashed$/],
    [call(429, { responseHeaders: { 'retry-after': '2' } }), 'busy', /HTTP 429/],
    [named('AI_JSONParseError'), 'truncated', /AI_JSONParseError/],
    [new Error('it has crashed'), 'unavailable', /: it has crashed$/],
    [{ message: 'it has crashed', code: 400 }, 'unavailable', /: it has crashed$/],
    ['it has crashed', 'unavailable', /: it has crashed$/],
    [SECRET, 'unavailable', /failed while it answered$/],
    [undefined, 'unavailable', /failed while it answered$/],
  ])(
    'with %s in its stream fails as "%s" after the text so far',
    async (error, failure, detail) => {
      const heard = await hear(
        languageModel(modelOf([textPart('so far'), { type: 'error', error }, finish()]).model),
        SECRET,
      );
      expect(heard.text).toBe('so far');
      expect(heard.error).toMatchObject({ failure, detail: expect.stringMatching(detail) });
      expect(inspect(heard.error, { depth: 10 })).not.toContain(SECRET);
    },
  );

  describe('that ignores its signal is left at once', () => {
    const left = new Error('the reader left');

    it('before its stream, which is cancelled when it comes late', async () => {
      const { model, cancelled } = modelOf([textPart('late')], { isOpen: true });
      let answer = (): void => {};
      const slow = {
        ...model,
        doStream: async (options: Record<string, unknown>) => {
          await new Promise<void>((resolve) => (answer = resolve));
          return model.doStream(options);
        },
      };
      const reader = new AbortController();
      const heard = hear(languageModel(slow), 'hello', reader.signal);
      setImmediate(() => reader.abort(left));
      expect((await heard).error).toBe(left);
      answer();
      await expect.poll(cancelled).toBe(1);
    });

    it('between parts', async () => {
      const { model, cancelled } = modelOf([textPart('a')], { isOpen: true });
      const reader = new AbortController();
      const heard = hear(languageModel(model), 'hello', reader.signal);
      setImmediate(() => reader.abort(left));
      expect(await heard).toMatchObject({ text: 'a', error: left });
      expect(cancelled()).toBe(1);
    });

    it('by a break', async () => {
      const { model, calls, cancelled } = modelOf([textPart('a')], { isOpen: true });
      const { signal } = new AbortController();
      for await (const _ of languageModel(model).stream(toPrompt('hello'), signal)) break;
      expect(cancelled()).toBe(1);
      expect((calls[0]!['abortSignal'] as AbortSignal).aborted).toBe(true);
    });
  });
});
