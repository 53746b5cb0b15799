import { createLogger, createServer, mockProvider, questionOf } from '@rivulet/server';
import { PATIENT } from '../harness/providers.js';
import { answerTo } from './answer.js';
import type { FromServer } from './messages.js';

// The server's process. It counts what is generated.

const counts = new Map<string, number>();
let active = 0;

async function* script(query: string) {
  counts.set(query, (counts.get(query) ?? 0) + 1);
  active += 1;
  try {
    for (const { waitMs, text } of answerTo(query)) {
      yield { waitMs };
      yield { text };
    }
    yield { finish: 'stop' } as const;
  } finally {
    active -= 1;
  }
}

const server = await createServer({
  env: {},
  port: 0,
  cache: { enabled: false },
  rateLimit: { requests: 1_000_000 },
  logger: createLogger('silent'),
  providers: [
    { provider: mockProvider((prompt) => script(questionOf(prompt))), deadlines: PATIENT },
  ],
});
const url = await server.listen();
const say = (message: FromServer): void => void process.send?.(message);
process.on('message', () => {
  server.http.getConnections((_, sockets) => {
    const twice = [...counts].filter(([, count]) => count > 1).map(([query]) => query);
    const generations = [...counts.values()].reduce((sum, count) => sum + count, 0);
    say({ type: 'stats', stats: { generations, twice, active, sockets } });
  });
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url });
