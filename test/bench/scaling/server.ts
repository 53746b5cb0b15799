import { createLogger, createServer, type Provider, questionOf } from '@rivulet/server';
import { monotonicMs } from '../../chaos/messages.js';
import { PATIENT } from '../../harness/providers.js';
import type { FromServer } from './messages.js';

// The process of one server; the URL of a Redis is its argument, or nothing. Its provider says the time, as
// often and at such intervals as the question says.

const MANY = 1_000_000;
const [url] = process.argv.slice(2);
let tokens = 0;

const provider: Provider = {
  name: 'times',
  model: 'm',
  async *stream(prompt) {
    const [, count = '1', everyMs = '10'] = questionOf(prompt).split(' ');
    const startedAt = performance.now();
    for (let i = 0; i < Number(count); i++) {
      const dueMs = i * Number(everyMs) - (performance.now() - startedAt);
      if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs));
      tokens += 1;
      yield { type: 'text', text: `${monotonicMs().toFixed(1)} ` };
    }
    yield { type: 'finish', reason: 'stop', usage: {} };
  },
};

const server = await createServer({
  env: {},
  port: 0,
  redis: { url },
  logger: createLogger('silent'),
  cache: { enabled: false },
  providers: [{ provider, deadlines: PATIENT, concurrency: MANY }],
  rateLimit: { requests: MANY },
  limits: {
    maxStreamsPerPrincipal: MANY,
    maxHandshakesPerAddress: MANY,
    maxMessagesPerSecond: MANY,
    maxLogBytes: 2 ** 30,
  },
});
const say = (message: FromServer): void => void process.send?.(message);
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  say({ type: 'usage', cpuMs: (user + system) / 1000, tokens });
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url: await server.listen() });
