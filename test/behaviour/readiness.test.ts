import { createServer } from '@rivulet/server';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FakeName } from '../fakes/shared.js';
import { type RunningFake, startFake, unusedUrl } from '../harness/fakes.js';
import { recorded } from '../harness/log.js';

const CHAT = { capabilities: ['completion'], contextLength: 4_096 };

async function fakeOf(name: FakeName): Promise<RunningFake> {
  const fake = await startFake(name);
  onTestFinished(() => fake.stop());
  return fake;
}

async function start(env: Record<string, string>) {
  const server = await createServer({ env: { PORT: '0', ...env }, logger: recorded().logger });
  const url = await server.listen();
  onTestFinished(() => server.close());
  return {
    server,
    ask: (query: string) => server.llm.generateResponse({ query }).catch(() => undefined),
    async ready() {
      const response = await fetch(`${url}/readyz`);
      return [response.status, await response.text()];
    },
  };
}

const KEY_REFUSED = 'gemini: misconfigured. Check GEMINI_API_KEY\n';
const AWAY = 'ollama: unavailable. Check that it is running (`ollama serve`), and OLLAMA_HOST\n';

describe('/readyz', () => {
  it('is 200 and degraded while one of several providers is misconfigured', async () => {
    const [gemini, ollama] = await Promise.all([fakeOf('gemini'), fakeOf('ollama')]);
    const { ask, ready } = await start({
      LLM_MODE: 'hybrid',
      GEMINI_API_KEY: 'AIza-secret',
      GEMINI_BASE_URL: gemini.url,
      OLLAMA_HOST: ollama.url.replace('http://', 'http://me:open-sesame@'),
    });
    await expect.poll(ready, { interval: 300 }).toEqual([200, 'ready\n']);
    await ask('400-key');
    expect(await ready()).toEqual([200, `degraded\n${KEY_REFUSED}`]);
    await ask('a question that Gemini answers');
    expect(await ready()).toEqual([200, 'ready\n']);
    await ollama.stop();
    await ask('403 is told without the number of the project');
    expect(await ready()).toEqual([200, `degraded\n${KEY_REFUSED}${AWAY}`]);
  });

  it('is 503 while the key of the only provider is refused', async () => {
    const gemini = await fakeOf('gemini');
    const { ask, ready } = await start({
      LLM_MODE: 'api',
      GEMINI_API_KEY: 'AIza-secret',
      GEMINI_BASE_URL: gemini.url,
    });
    await ask('400-key');
    expect(await ready()).toEqual([
      503,
      `not ready: no provider is configured correctly\n${KEY_REFUSED}`,
    ]);
  });

  it('names an OpenAI-compatible server `openai`, and what to check of it', async () => {
    const openai = await fakeOf('openai');
    const { server, ask, ready } = await start({
      LLM_MODE: 'api',
      OPENAI_API_KEY: 'sk-secret',
      OPENAI_BASE_URL: `${openai.url}/v1`,
    });
    expect(server.llm.providerStatus()).toMatchObject([{ name: 'openai', model: 'stories' }]);
    expect(await ready()).toEqual([200, 'ready\n']);
    await ask('401');
    expect(await ready()).toEqual([
      503,
      'not ready: no provider is configured correctly\nopenai: misconfigured. Check OPENAI_API_KEY\n',
    ]);
  });

  it('finds the model of an OpenAI-compatible server once it is back, without a question', async () => {
    const openai = await fakeOf('openai');
    await openai.tell('/_fake/models', ['one', 'two']);
    const { server, ready } = await start({
      LLM_MODE: 'api',
      OPENAI_BASE_URL: `${openai.url}/v1`,
    });
    await expect
      .poll(ready, { interval: 300 })
      .toEqual([
        503,
        'not ready: no provider is configured correctly\nopenai: misconfigured. Set OPENAI_MODEL to the model that answers\n',
      ]);
    await openai.tell('/_fake/models', ['one']);
    await expect.poll(ready, { interval: 300 }).toEqual([200, 'ready\n']);
    expect(server.llm.providerStatus()).toMatchObject([{ model: 'one' }]);
  });

  it('is 503 while the only model is missing, and 200 once it is installed, without a question', async () => {
    const ollama = await fakeOf('ollama');
    await ollama.tell('/_fake/models', {});
    const { ready } = await start({
      LLM_MODE: 'local',
      OLLAMA_HOST: ollama.url,
      OLLAMA_MODEL: 'phi4',
    });
    const problem =
      'ollama: misconfigured. Install the model with `ollama pull phi4`, or set OLLAMA_MODEL\n';
    await expect
      .poll(ready, { interval: 300 })
      .toEqual([503, `not ready: no provider is configured correctly\n${problem}`]);
    await ollama.tell('/_fake/models', { 'phi4:latest': CHAT });
    await expect.poll(ready, { interval: 300 }).toEqual([200, 'ready\n']);
  });

  it('is 200 and degraded while the only provider is away', async () => {
    const { ready } = await start({ LLM_MODE: 'local', OLLAMA_HOST: await unusedUrl() });
    expect(await ready()).toEqual([200, `degraded\n${AWAY}`]);
  });

  it('is 200 and degraded while a provider is away and the other misconfigured', async () => {
    const gemini = await fakeOf('gemini');
    const { ask, ready } = await start({
      LLM_MODE: 'hybrid',
      GEMINI_API_KEY: 'AIza-secret',
      GEMINI_BASE_URL: gemini.url,
      OLLAMA_HOST: await unusedUrl(),
    });
    await ask('400-key');
    expect(await ready()).toEqual([200, `degraded\n${KEY_REFUSED}${AWAY}`]);
  });

  it('is 503 while the server drains, whatever its providers can do', async () => {
    const { server, ready } = await start({ LLM_MODE: 'local', OLLAMA_HOST: await unusedUrl() });
    await server.drain(0);
    expect(await ready()).toEqual([503, 'not ready: the server is shutting down\n']);
  });

  it('is 200 and degraded while a provider is left alone because it kept failing', async () => {
    const gemini = await fakeOf('gemini');
    const { ask, ready } = await start({
      LLM_MODE: 'api',
      GEMINI_API_KEY: 'AIza-secret',
      GEMINI_BASE_URL: gemini.url,
    });
    for (let asked = 0; asked < 5; asked++) await ask(`html ${asked}`);
    expect(await ready()).toEqual([200, 'degraded\ngemini: unavailable. The log says why\n']);
  });
});
