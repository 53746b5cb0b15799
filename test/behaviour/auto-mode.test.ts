import { createLlmService, createServer, mockProvider } from '@rivulet/server';
import { describe, expect, it, onTestFinished } from 'vitest';
import { resolveSettings } from '../../packages/server/src/settings/resolve-settings.js';
import { chooseProviders } from '../../packages/server/src/upstream/choose-providers.js';
import { startFake, unusedUrl } from '../harness/fakes.js';
import { recorded } from '../harness/log.js';
import { entriesOf, textOf } from '../harness/service.js';

async function serverWith(env: Record<string, string>) {
  const server = await createServer({ env: { LOG_LEVEL: 'silent', ...env } });
  onTestFinished(() => server.close());
  return server;
}

it('makes the core alone with `createLlmService`', async () => {
  const llm = await createLlmService({ mode: 'docs', logLevel: 'silent', env: {} });
  expect((await llm.generateResponse({ query: 'What is Rivulet?' })).text).toContain('SDK');
});

describe('LLM_MODE=auto', () => {
  it('answers from the documentation where there is no key and no Ollama', async () => {
    const host = (await unusedUrl()).replace('http://', '');
    const { providers, llm } = await serverWith({ OLLAMA_HOST: host });
    expect(providers).toEqual(['docs']);
    expect((await llm.generateResponse({ query: 'What is Rivulet?' })).provider).toBe('docs');
  });

  it('says in the log that it found no model, and what to set, unless it was told to search', async () => {
    const env = { OLLAMA_HOST: await unusedUrl() };
    const log = recorded();
    await (await createServer({ env, logger: log.logger })).close();
    expect(log.events.find(({ event }) => event === 'LLM_NO_MODEL_FOUND')).toMatchObject({
      level: 40,
      provider: 'docs',
      hint: expect.stringMatching(
        /GEMINI_API_KEY or OPENAI_API_KEY or OPENAI_BASE_URL.*OLLAMA_HOST.*LLM_MODE=docs/,
      ),
    });
    const told = recorded();
    await (await createServer({ env, mode: 'docs', logger: told.logger })).close();
    expect(told.events).toEqual([]);
  });

  it('gives the answers to the provider of the application that has one, and names it in the log', async () => {
    const env = { OLLAMA_HOST: await unusedUrl() };
    const log = recorded();
    const own = { provider: mockProvider(() => [], { name: 'own' }) };
    const settings = resolveSettings({ env });
    expect(await chooseProviders(settings, log.logger, own)).toEqual([own]);
    expect(log.events.find(({ event }) => event === 'LLM_NO_MODEL_FOUND')).toMatchObject({
      provider: 'own',
    });
  });

  it('finds an Ollama, and answers with a model that it has', async () => {
    const fake = await startFake('ollama');
    onTestFinished(() => fake.stop());
    const { providers, llm } = await serverWith({ OLLAMA_HOST: fake.url });
    expect(providers).toEqual(['ollama']);
    const entries = await entriesOf(llm.generateResponseStream({ query: 'Explain deltas' }));
    expect(entries[0]).toMatchObject({
      type: 'start',
      provider: 'ollama',
      model: 'llama3.2:latest',
    });
    expect(textOf(entries)).toContain('Explain deltas');
  });

  it('asks Gemini first where there is a key, and Ollama after it', async () => {
    const [fakeGemini, fakeOllama] = await Promise.all([startFake('gemini'), startFake('ollama')]);
    onTestFinished(async () => void (await Promise.all([fakeGemini.stop(), fakeOllama.stop()])));
    const env = { GEMINI_API_KEY: 'key', GEMINI_BASE_URL: fakeGemini.url };
    const { providers, llm } = await serverWith({ ...env, OLLAMA_HOST: fakeOllama.url });
    expect(providers).toEqual(['gemini', 'ollama']);
    const entries = await entriesOf(llm.generateResponseStream({ query: 'Explain deltas' }));
    expect(entries[0]).toMatchObject({ provider: 'gemini' });
    await fakeGemini.stop();
    const fallback = await entriesOf(llm.generateResponseStream({ query: 'Explain rivers' }));
    expect(fallback[0]).toMatchObject({ provider: 'ollama', attempt: 1 });
  });

  it('asks an OpenAI-compatible server first where only its URL is set, without a key', async () => {
    const [fake, fakeOllama] = await Promise.all([startFake('openai'), startFake('ollama')]);
    onTestFinished(async () => void (await Promise.all([fake.stop(), fakeOllama.stop()])));
    const env = { OPENAI_BASE_URL: `${fake.url}/v1`, OLLAMA_HOST: fakeOllama.url };
    const { providers, llm } = await serverWith(env);
    expect(providers).toEqual(['openai', 'ollama']);
    const entries = await entriesOf(llm.generateResponseStream({ query: 'echo-headers' }));
    expect(entries[0]).toMatchObject({ provider: 'openai', model: 'stories' });
    expect(JSON.parse(textOf(entries))).not.toHaveProperty('authorization');
    await fake.stop();
    const fallback = await entriesOf(llm.generateResponseStream({ query: 'Explain rivers' }));
    expect(fallback[0]).toMatchObject({ provider: 'ollama', attempt: 1 });
  });
});

describe('LLM_API', () => {
  const keys = { GEMINI_API_KEY: 'AIza', OPENAI_API_KEY: 'sk' };

  it.each([
    ['api', {}, ['gemini']],
    ['api', { LLM_API: 'gemini' }, ['gemini']],
    ['api', { LLM_API: 'openai' }, ['openai']],
    ['api', { GEMINI_API_KEY: '' }, ['openai']],
    ['api', { OPENAI_API_KEY: '' }, ['gemini']],
    ['hybrid', {}, ['gemini', 'ollama']],
    ['hybrid', { LLM_API: 'openai' }, ['openai', 'ollama']],
    ['auto', {}, ['gemini']],
    ['auto', { LLM_API: 'openai' }, ['openai']],
    ['auto', { LLM_API: 'openai', OPENAI_API_KEY: '' }, ['docs']],
    ['local', {}, ['ollama']],
    ['docs', {}, ['docs']],
  ])('chooses between two keys: %s with %j asks %j', async (LLM_MODE, env, names) => {
    const OLLAMA_HOST = await unusedUrl();
    const { providers } = await serverWith({ LLM_MODE, OLLAMA_HOST, ...keys, ...env });
    expect(providers).toEqual(names);
  });
});
