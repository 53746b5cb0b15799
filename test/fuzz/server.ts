import { createLogger, createServer, mockProvider, questionOf } from '@rivulet/server';
import { PATIENT } from '../harness/providers.js';

// The attacked server, in a process of its own.

/** The text of the other users' answers: `count` words, one every 20 ms. */
const LONG = /^long answer of (\d+) words$/;

export interface Vitals {
  heapBytes: number;
  connections: number;
}

export type FromServer = { type: 'listening'; url: string } | { type: 'vitals'; vitals: Vitals };

async function* script(query: string) {
  const words = Number(LONG.exec(query)?.[1] ?? 1);
  for (let i = 0; i < words; i++) {
    if (i > 0) yield { waitMs: 20 };
    yield { text: `word${i} ` };
  }
  yield { finish: 'stop' } as const;
}

const server = await createServer({
  env: { FINISHED_RETENTION_MS: '1000' },
  port: 0,
  cache: { enabled: false },
  // The fuzzer is to reach the code behind the limits.
  rateLimit: { requests: 1_000_000 },
  logger: createLogger('silent'),
  providers: [
    { provider: mockProvider((prompt) => script(questionOf(prompt))), deadlines: PATIENT },
  ],
});
const url = await server.listen();
const say = (message: FromServer): void => void process.send?.(message);
process.on('message', () => {
  globalThis.gc?.();
  server.http.getConnections((_, connections) => {
    const { heapUsed: heapBytes } = process.memoryUsage();
    say({ type: 'vitals', vitals: { heapBytes, connections } });
  });
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url });
