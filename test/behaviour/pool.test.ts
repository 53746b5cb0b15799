import { gemini, ollama } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { answerTo } from '../fakes/shared.js';
import { startFake } from '../harness/fakes.js';
import { startServer } from '../harness/rivulet.js';
import { candidateOf } from '../harness/route.js';
import { sdk } from '../harness/sdk.js';

const ASKERS = 100;
const CLIENTS = 4;

describe.each([
  ['gemini', 32],
  ['gemini', 4],
  ['ollama', 1],
  ['ollama', 4],
] as const)(
  'a hundred askers at once before %s, which answers %i at a time',
  (name, parallelism) => {
    it('are all served, over as many connections as there are answers at a time, used again', async () => {
      const fake = await startFake(name);
      const provider =
        name === 'gemini'
          ? gemini({ apiKey: 'k', model: 'm', baseUrl: fake.url })
          : ollama({ host: fake.url, model: 'm' });
      const { url } = await startServer(provider, {
        route: [candidateOf(provider, { parallelism })],
      });
      const clients = Array.from({ length: CLIENTS }, () => sdk(url));
      const answers = Array.from({ length: ASKERS }, (_, i) =>
        clients[i % CLIENTS]!.start({ query: `question ${i}` }),
      );
      const done = await Promise.all(answers.map(({ result }) => result));
      done.forEach(({ text }, i) => expect(text).toBe(answerTo(`question ${i}`)));
      const { requests, aborted, socketsTotal } = await fake.stats();
      await fake.stop();
      expect({ requests, aborted }).toEqual({ requests: ASKERS, aborted: 0 });
      expect(socketsTotal).toBeLessThanOrEqual(parallelism);
    });
  },
);
