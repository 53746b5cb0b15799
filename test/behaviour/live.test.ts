import { execFile } from 'node:child_process';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type RunningFake, startFake, unusedUrl } from '../harness/fakes.js';

const CHAT = { capabilities: ['completion', 'tools'], contextLength: 4_096 };
const SCRIPT = ['--conditions=@rivulet/source', '--import', 'tsx', 'test/live/live.ts'];
const NOTHING = {
  OLLAMA_HOST: '',
  OLLAMA_MODEL: '',
  GEMINI_API_KEY: '',
  OPENAI_API_KEY: '',
  OPENAI_BASE_URL: '',
};

function tryLive(env: Record<string, string>): Promise<{ code: unknown; output: string }> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...NOTHING, ...env } };
    execFile(process.execPath, SCRIPT, options, (error, output) =>
      resolve({ code: error === null ? 0 : error.code, output }),
    );
  });
}

async function fakeOllama(env: Record<string, string> = {}): Promise<RunningFake> {
  const fake = await startFake('ollama', { FAKE_PACE: '0.1', ...env });
  onTestFinished(() => fake.stop());
  await fake.tell('/_fake/models', { 'chat:1b': CHAT });
  return fake;
}

describe('npm run test:live', () => {
  it(
    'passes with servers that keep the contract, and says what it left out',
    { timeout: 120_000 },
    async () => {
      const [ollama, gemini, openai] = await Promise.all([
        fakeOllama(),
        startFake('gemini', { FAKE_PACE: '0.1' }),
        startFake('openai', { FAKE_PACE: '0.1' }),
      ]);
      onTestFinished(async () => void (await Promise.all([gemini.stop(), openai.stop()])));
      const { code, output } = await tryLive({
        OLLAMA_HOST: ollama.url,
        GEMINI_API_KEY: 'key',
        GEMINI_BASE_URL: gemini.url,
        OPENAI_BASE_URL: `${openai.url}/v1`,
      });
      expect(output).toContain('Ollama 0.24.0 with chat:1b');
      expect(output).toMatch(
        /^left out {2}a prompt that is too long .*: its context is too large/m,
      );
      expect(output).toContain('OpenAI-compatible server with stories');
      expect(output).toMatch(/^21 passed, 0 failed$/m);
      expect(code).toBe(0);
    },
  );

  it.each([
    ['a text that is lost', { FAKE_MISBEHAVIOUR: 'lost-text' }, 'the text is that of', 3],
    ['a prompt that is cut', { FAKE_MISBEHAVIOUR: 'cut-prompts' }, 'a prompt that is too long', 1],
  ])('fails with %s', async (_, env, what, failed) => {
    const ollama = await fakeOllama(env);
    const { code, output } = await tryLive({ OLLAMA_HOST: ollama.url });
    expect(output).toMatch(new RegExp(`^FAILED {4}${what}`, 'm'));
    expect(output).toMatch(new RegExp(`^\\d passed, ${failed} failed$`, 'm'));
    expect(code).toBe(1);
  });

  it('fails with an Ollama that answers for a model that it does not have', async () => {
    const ollama = await startFake('ollama', { FAKE_PACE: '0.1' });
    onTestFinished(() => ollama.stop());
    const { output } = await tryLive({ OLLAMA_HOST: ollama.url });
    expect(output).toMatch(/^FAILED {4}a model that is missing .*: a model that does not exist/m);
  });

  it.each([
    ['that has not the model', async () => (await fakeOllama()).url, 'it has no model phi4'],
    ['that is away', unusedUrl, 'unable to reach ollama: connection refused'],
  ])('fails with an Ollama %s', async (_, host, why) => {
    const { code, output } = await tryLive({ OLLAMA_HOST: await host(), OLLAMA_MODEL: 'phi4' });
    expect(output).toContain(`FAILED    Ollama: ${why}`);
    expect(code).toBe(1);
  });

  it('fails where there is nothing to try', async () => {
    const { code, output } = await tryLive({});
    expect(output).toMatch(/^left out {2}Ollama: OLLAMA_HOST and OLLAMA_MODEL are not set$/m);
    expect(output).toMatch(/^left out {2}Gemini: GEMINI_API_KEY is not set$/m);
    expect(output).toMatch(/^left out {2}OpenAI: OPENAI_API_KEY and OPENAI_BASE_URL are not set$/m);
    expect(code).toBe(1);
  });
});
