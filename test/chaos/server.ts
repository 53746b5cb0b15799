import { createLogger, createServer, questionOf, readConfig, mockProvider } from '@rivulet/server';
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
  config: readConfig({
    HOST: '127.0.0.1',
    LLM_CACHE_ENABLED: 'false',
    RATE_LIMIT_REQUESTS: '1000000',
  }),
  logger: createLogger('silent'),
  providers: [
    { provider: mockProvider((prompt) => script(questionOf(prompt))), deadlines: PATIENT },
  ],
});
const url = await server.listen(0);
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
