import { createLogger, createServer, mockProvider, questionOf } from '@rivulet/server';
import { providersOf } from '../harness/providers.js';

/** A server whose every answer says how often it was asked that: `1: QUESTION`. Runs as a process. */
const timesAsked = new Map<string, number>();
const counting = mockProvider(function* (prompt) {
  const question = questionOf(prompt);
  const asked = (timesAsked.get(question) ?? 0) + 1;
  timesAsked.set(question, asked);
  for (const word of `${asked}: ${question}`.match(/\S+\s*/g) ?? []) {
    yield { text: word };
    yield { waitMs: 1 };
  }
  yield { finish: question.includes('cut off') ? 'length' : 'stop' };
});

const server = await createServer({
  env: {},
  port: 0,
  cache: { enabled: false },
  rateLimit: { requests: 100_000 },
  logger: createLogger('silent'),
  providers: providersOf(counting),
});
console.log(`counting: ${await server.listen()}`);
