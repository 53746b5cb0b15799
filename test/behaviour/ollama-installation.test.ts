import { createLlmService, docs, type LlmService, ollama, type Provider } from '@rivulet/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createInstallation } from '../../packages/server/src/providers/ollama/installation.js';
import { type RunningFake, startFake, toPrompt, hear, unusedUrl } from '../harness/fakes.js';
import { type Recorded, recorded } from '../harness/log.js';
import { serviceOf } from '../harness/service.js';
import { startUpstream } from '../harness/upstream.js';

const CHAT = { capabilities: ['completion'], contextLength: 4_096 };
const EMBEDDING = { capabilities: ['embedding'], contextLength: 2_048 };

async function fakeOllama(
  models?: Readonly<Record<string, object>>,
  env: Record<string, string> = {},
): Promise<RunningFake> {
  const fake = await startFake('ollama', env);
  onTestFinished(() => fake.stop());
  if (models !== undefined) await fake.tell('/_fake/models', models);
  return fake;
}

interface Started extends Recorded {
  llm: LlmService;
}

async function start(env: Record<string, string>): Promise<Started> {
  const log = recorded();
  const llm = await createLlmService({ env, logger: log.logger, cache: { enabled: false } });
  return {
    llm,
    logger: log.logger,
    written: log.written,
    get events() {
      return log.events;
    },
  };
}

const named = ({ events }: Recorded, name: string) => events.filter(({ event }) => event === name);

describe('a server that starts', () => {
  it('logs the Ollama that it found, without its login', async () => {
    const fake = await fakeOllama();
    const host = fake.url.replace('http://', 'http://me:open-sesame@');
    const started = await start({ LLM_MODE: 'local', OLLAMA_HOST: host, OLLAMA_MODEL: 'llama3.2' });
    expect(named(started, 'OLLAMA_FOUND')).toMatchObject([
      {
        host: new URL(fake.url).host,
        version: '0.24.0',
        model: 'llama3.2',
        capabilities: ['completion', 'tools', 'thinking'],
        contextLength: 131_072,
      },
    ]);
    expect(started.written()).not.toContain('open-sesame');
  });

  it.each(['local', 'hybrid', 'auto'])(
    'takes the newest model that can chat, in mode %s',
    async (mode) => {
      const fake = await fakeOllama({ 'embed:latest': EMBEDDING, 'new:1b': CHAT, 'old:1b': CHAT });
      const key = { GEMINI_API_KEY: 'key', GEMINI_BASE_URL: await unusedUrl() };
      const { llm } = await start({
        LLM_MODE: mode,
        OLLAMA_HOST: fake.url,
        ...(mode === 'hybrid' && key),
      });
      const answer = await llm.generateResponse({ query: 'Explain deltas' });
      expect(answer).toMatchObject({ provider: 'ollama', model: 'new:1b' });
    },
  );

  it('answers from the documentation where Ollama has no model that can chat, in mode auto', async () => {
    const fake = await fakeOllama({ 'embed:latest': EMBEDDING });
    const started = await start({ LLM_MODE: 'auto', OLLAMA_HOST: fake.url });
    expect(started.llm.providerStatus().map(({ name }) => name)).toEqual(['docs']);
    expect(named(started, 'LLM_PROVIDER_MISCONFIGURED')).toMatchObject([
      { err: { detail: expect.stringContaining('`ollama pull llama3.2`') } },
    ]);
  });

  it('waits for about a second where Ollama does not answer', async () => {
    const { url } = await startUpstream(() => new Promise(() => {}));
    const startedAt = performance.now();
    const started = await start({ LLM_MODE: 'local', OLLAMA_HOST: url, OLLAMA_MODEL: 'm' });
    // The limit of a later look is 5 s.
    expect(performance.now() - startedAt).toBeLessThan(4_900);
    expect(named(started, 'OLLAMA_NOT_FOUND')).toHaveLength(1);
  });
});

const WRONG = [
  ['is not installed', 'phi4', /no model named phi4\. .*`ollama pull phi4`, or set OLLAMA_MODEL/],
  ['cannot chat', 'embed', /embed of ollama cannot chat\. Set OLLAMA_MODEL to a model that can/],
] as const;

describe.each(WRONG)('a model that %s', (_, model, detail) => {
  const models = { 'embed:latest': EMBEDDING, 'new:1b': CHAT };

  it('is in the log at the start, and no visitor is told that they asked wrongly', async () => {
    const fake = await fakeOllama(models);
    const started = await start({ LLM_MODE: 'local', OLLAMA_HOST: fake.url, OLLAMA_MODEL: model });
    const misconfigured = {
      err: { failure: 'misconfigured', detail: expect.stringMatching(detail) },
    };
    expect(named(started, 'LLM_PROVIDER_MISCONFIGURED')).toMatchObject([misconfigured]);
    for (let asked = 1; asked <= 2; asked++) {
      await expect(started.llm.generateResponse({ query: 'q' })).rejects.toMatchObject({
        code: 'provider_unavailable',
        message:
          'unable to get an answer: the model is not set up correctly on this server; ask its operator to read the log',
      });
      expect(named(started, 'LLM_PROVIDER_MISCONFIGURED')).toHaveLength(1 + asked);
    }
    expect((await fake.stats()).requests).toBe(0);
  });

  it('leads to the next provider', async () => {
    const fake = await fakeOllama(models);
    const llm = await createLlmService({
      env: { LOG_LEVEL: 'silent' },
      providers: [{ provider: ollama({ host: fake.url, model }) }, { provider: docs() }],
    });
    expect((await llm.generateResponse({ query: 'What is a delta?' })).provider).toBe('docs');
  });

  it('is not left alone by the breaker, so that it answers as soon as it can', async () => {
    const fake = await fakeOllama(models);
    const { llm } = await start({ LLM_MODE: 'local', OLLAMA_HOST: fake.url, OLLAMA_MODEL: model });
    for (let asked = 0; asked < 6; asked++)
      await llm.generateResponse({ query: 'q' }).catch(() => {});
    expect(llm.providerStatus()).toMatchObject([
      { breaker: 'closed', problem: { failure: 'misconfigured' } },
    ]);
  });

  it('answers as soon as it is installed', async () => {
    const fake = await fakeOllama(models);
    const { llm } = await start({ LLM_MODE: 'local', OLLAMA_HOST: fake.url, OLLAMA_MODEL: model });
    await fake.tell('/_fake/models', { [`${model}:latest`]: CHAT });
    await expect
      .poll(
        () =>
          llm.generateResponse({ query: 'q' }).then(
            (answer) => answer.model,
            () => undefined,
          ),
        {
          timeout: 10_000,
          interval: 500,
        },
      )
      .toBe(model);
  });
});

describe('a model that is removed while the server runs', () => {
  it('is replaced by another one that can chat', async () => {
    const fake = await fakeOllama({ 'first:1b': CHAT, 'second:1b': CHAT });
    const started = await start({ LLM_MODE: 'local', OLLAMA_HOST: fake.url });
    expect((await started.llm.generateResponse({ query: 'q' })).model).toBe('first:1b');
    await fake.tell('/_fake/models', { 'second:1b': CHAT });
    await expect(started.llm.generateResponse({ query: 'q' })).rejects.toMatchObject({
      code: 'provider_unavailable',
    });
    await vi.waitFor(() => expect(named(started, 'OLLAMA_FOUND')).toHaveLength(2));
    expect((await started.llm.generateResponse({ query: 'q' })).model).toBe('second:1b');
  });
});

describe('an Ollama that is away', () => {
  it('is logged once, and again when it is back', async () => {
    const url = await unusedUrl();
    const started = await start({ LLM_MODE: 'local', OLLAMA_HOST: url, OLLAMA_MODEL: 'llama3.2' });
    for (let asked = 0; asked < 2; asked++) {
      await expect(started.llm.generateResponse({ query: 'q' })).rejects.toThrow('unable to');
    }
    expect(named(started, 'OLLAMA_NOT_FOUND')).toMatchObject([
      { level: 40, host: new URL(url).host, err: { detail: expect.stringMatching(/refused/) } },
    ]);
    expect(named(started, 'OLLAMA_FOUND')).toEqual([]);

    const fake = await fakeOllama(undefined, { PORT: new URL(url).port });
    // The breaker stays closed while at most half of the calls fail.
    for (let asked = 0; asked < 3; asked++) await started.llm.generateResponse({ query: 'q' });
    await vi.waitFor(() => expect(named(started, 'OLLAMA_FOUND')).toHaveLength(1));
    await fake.stop();
    await expect(started.llm.generateResponse({ query: 'q' })).rejects.toThrow('unable to');
    expect(named(started, 'OLLAMA_NOT_FOUND')).toHaveLength(2);

    await fakeOllama(undefined, { PORT: new URL(url).port });
    await started.llm.generateResponse({ query: 'q' });
    await vi.waitFor(() => expect(named(started, 'OLLAMA_FOUND')).toHaveLength(2));
  });
});

describe('an Ollama that stays away', () => {
  it('is left alone by the breaker, so that questions do not wait for its connection', async () => {
    const env = { LLM_MODE: 'local', OLLAMA_HOST: await unusedUrl(), OLLAMA_MODEL: 'm' };
    const { llm } = await start(env);
    for (let asked = 0; asked < 5; asked++)
      await llm.generateResponse({ query: 'q' }).catch(() => {});
    expect(llm.providerStatus()).toMatchObject([
      { breaker: 'open', problem: { failure: 'unavailable' } },
    ]);
    await expect(llm.generateResponse({ query: 'q' })).rejects.toThrow('left alone for 5 s');
  });
});

describe('a model that changes while it answers', () => {
  it('is named, and its answer is cached, as it was when it was asked', async () => {
    let model = 'old';
    const provider: Provider = {
      name: 'local',
      get model() {
        return model;
      },
      async *stream() {
        const asked = model;
        model = 'new';
        yield { type: 'text', text: `I am ${asked}.` };
        yield { type: 'finish', reason: 'stop', usage: {} };
      },
    };
    const service = serviceOf(provider);
    const question = { query: 'q', principal: 'me' };
    expect(await service.generateResponse(question)).toMatchObject({
      model: 'old',
      text: 'I am old.',
    });
    expect(await service.generateResponse(question)).toMatchObject({
      source: 'model',
      model: 'new',
      text: 'I am new.',
    });
    expect(await service.generateResponse(question)).toMatchObject({
      source: 'cache',
      model: 'new',
      text: 'I am new.',
    });
  });
});

describe('what is known of a model', () => {
  it('spares Ollama a question for what the model lacks', async () => {
    const fake = await fakeOllama({ 'plain:1b': CHAT });
    const provider = ollama({ host: fake.url });
    await provider.prepare?.();
    const { deltas } = await hear(provider, {
      ...toPrompt('echo'),
      thoughts: true,
      tools: [{ name: 'a', description: 'b', parameters: { type: 'object' } }],
    });
    const body = JSON.parse((deltas[0] as { text: string }).text) as object;
    expect(body).toMatchObject({ model: 'plain:1b' });
    expect(body).not.toHaveProperty('tools');
    expect(body).not.toHaveProperty('think');
    expect((await fake.stats()).requests).toBe(1);
  });

  it('is used at once when it is old, and looked at again in the background', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const models = ['first', 'second'];
    let looks = 0;
    const { url } = await startUpstream(({ path }, response) => {
      if (path === '/api/version') looks++;
      response.writeHead(200, { 'content-type': 'application/json' });
      const listed = { models: [{ name: models[looks - 1] }] };
      response.end(
        JSON.stringify({ '/api/version': { version: '1' }, '/api/tags': listed }[path] ?? {}),
      );
    });
    const found: string[] = [];
    const installation = createInstallation({
      host: url,
      model: undefined,
      isOptional: false,
      logger: undefined,
      onFound: ({ name }) => found.push(name),
    });
    await installation.prepare();
    expect(installation.prepare()).toBeUndefined();
    vi.advanceTimersByTime(29_000);
    expect(installation.prepare()).toBeUndefined();
    expect(looks).toBe(1);
    vi.advanceTimersByTime(2_000);
    expect(installation.prepare()).toBeUndefined();
    expect(installation.model).toBe('first');
    await vi.waitFor(() => expect(found).toEqual(['first', 'second']));
    expect(installation.model).toBe('second');
    expect(looks).toBe(2);
  });
});

describe('OLLAMA_PRELOAD', () => {
  it('loads the model at the start as a question would', async () => {
    const fake = await fakeOllama({ 'new:1b': CHAT });
    const started = await start({
      LLM_MODE: 'local',
      OLLAMA_HOST: fake.url,
      OLLAMA_PRELOAD: 'true',
      OLLAMA_NUM_CTX: '2048',
      OLLAMA_KEEP_ALIVE: '600',
    });
    await vi.waitFor(() =>
      expect(named(started, 'OLLAMA_MODEL_LOADED')).toMatchObject([
        { model: 'new:1b', loadMs: expect.any(Number) },
      ]),
    );
    const { models } = (await (await fetch(`${fake.url}/api/ps`)).json()) as { models: object[] };
    expect(models).toMatchObject([{ name: 'new:1b' }]);
    const { text } = await started.llm.generateResponse({ query: 'echo' });
    expect(JSON.parse(text)).toMatchObject({ keep_alive: 600, options: { num_ctx: 2_048 } });
  });

  it('is sent with the context and the time in memory of the questions', async () => {
    const { url, requests } = await startUpstream(({ path }, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const bodies: Record<string, object> = {
        '/api/version': { version: '1' },
        '/api/chat': { done: true, done_reason: 'load' },
      };
      response.end(JSON.stringify(bodies[path] ?? {}));
    });
    const provider = ollama({
      host: url,
      model: 'm',
      numCtx: 2_048,
      keepAlive: '10m',
      preload: true,
    });
    await provider.prepare?.();
    await vi.waitFor(() =>
      expect(requests.find(({ path }) => path === '/api/chat')?.body).toMatchObject({
        model: 'm',
        messages: [],
        keep_alive: '10m',
        options: { num_ctx: 2_048 },
      }),
    );
  });

  it('that fails is logged, and keeps nothing from starting', async () => {
    const fake = await fakeOllama({ 'new:1b': CHAT }, { FAKE_LOAD_MS: '60000' });
    const log = recorded();
    const provider = ollama({ host: fake.url, preload: true, loadMs: 50, logger: log.logger });
    await provider.prepare?.();
    await vi.waitFor(() => expect(named(log, 'OLLAMA_LOAD_FAILED')).toHaveLength(1));
  });
});
