import { createLogger, createServer, mockProvider, questionOf } from '@rivulet/server';
import { answerTo } from '../chaos/answer.js';
import { between, randomOf } from '../chaos/random.js';
import { PATIENT } from '../harness/providers.js';
import type { FromPeer, ToPeer } from './messages.js';
import { takeSample } from './sample.js';

// The server's process. One in eight calls of its first provider fails, before or within the answer; the second
// provider then answers.

let generations = 0;

async function* script(query: string, failsAt: number | undefined) {
  generations += 1;
  try {
    for (const [i, { waitMs, text }] of answerTo(query).entries()) {
      if (i === failsAt) yield { fail: new Error('the model ended') };
      yield { waitMs };
      yield { text };
    }
    yield { finish: 'stop' } as const;
  } finally {
    generations -= 1;
  }
}

function placeOfFailure(query: string): number | undefined {
  const random = randomOf(`${query} fails`);
  return random() < 0.125 ? between(random, 0, 15) : undefined;
}

const first = mockProvider(
  (prompt) => script(questionOf(prompt), placeOfFailure(questionOf(prompt))),
  {
    name: 'first',
  },
);
const second = mockProvider((prompt) => script(questionOf(prompt), undefined), { name: 'second' });
const server = await createServer({
  env: {},
  port: 0,
  cache: { maxBytes: 2_000_000 },
  rateLimit: { requests: 1_000_000 },
  limits: { detachTimeoutMs: 2_000, disconnectTimeoutMs: 30_000, finishedRetentionMs: 10_000 },
  logger: createLogger('silent'),
  providers: [
    { provider: first, deadlines: PATIENT },
    { provider: second, deadlines: PATIENT },
  ],
});
const url = await server.listen();
const say = (message: FromPeer): void => void process.send?.(message);
process.on('message', (message: ToPeer) => {
  if (message.type !== 'sample') return;
  server.http.getConnections((_, sockets) => {
    say({ type: 'sample', sample: takeSample({ sockets, generations }) });
  });
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url });
