import { createLogger, resolveSettings } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { chooseProviders } from '../../packages/server/src/upstream/choose-providers.js';
import { answerTo } from '../fakes/shared.js';
import { startFake } from '../harness/fakes.js';
import { startServer } from '../harness/rivulet.js';
import { sdk } from '../harness/sdk.js';

const ASKERS = 100;
const CLIENTS = 4;

describe.each([
  ['gemini', 32, {}],
  ['gemini', 4, { GEMINI_CONCURRENCY: '4' }],
  ['openai', 4, { OPENAI_CONCURRENCY: '4' }],
  ['ollama', 1, {}],
  ['ollama', 4, { OLLAMA_CONCURRENCY: '4' }],
] as const)('a hundred askers at once before %s, which answers %i at a time', (name, most, env) => {
  it('are all served, over no more connections than that, used again and again', async () => {
    const fake = await startFake(name);
    const settings = resolveSettings({
      env: {
        ...{
          gemini: { LLM_MODE: 'api', GEMINI_API_KEY: 'k', GEMINI_BASE_URL: fake.url },
          openai: { LLM_MODE: 'api', OPENAI_BASE_URL: `${fake.url}/v1`, OPENAI_MODEL: 'm' },
          ollama: { LLM_MODE: 'local', OLLAMA_HOST: fake.url },
        }[name],
        ...env,
      },
    });
    const providers = await chooseProviders(settings, createLogger('silent'));
    const { url, llm } = await startServer(providers[0].provider, { providers });
    const clients = Array.from({ length: CLIENTS }, () => sdk(url));
    const answers = Array.from({ length: ASKERS }, (_, i) =>
      clients[i % CLIENTS]!.start({ query: `question ${i}` }),
    );
    const done = await Promise.all(answers.map(({ result }) => result));
    const { requests, aborted, socketsTotal } = await fake.stats();
    await fake.stop();
    expect(done.map(({ text }) => text)).toEqual(done.map((_, i) => answerTo(`question ${i}`)));
    expect({ requests, aborted }).toEqual({ requests: ASKERS, aborted: 0 });
    expect(socketsTotal).toBeLessThanOrEqual(most);
    expect(llm.providerStatus()).toMatchObject([{ running: 0, waiting: 0, breaker: 'closed' }]);
  });
});
