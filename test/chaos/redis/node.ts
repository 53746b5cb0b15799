import {
  createLogger,
  createServer,
  type LogFields,
  type Logger,
  mockProvider,
  questionOf,
} from '@rivulet/server';
import { monotonicMs } from '../messages.js';
import { PATIENT } from '../../harness/providers.js';
import { answerTo } from '../answer.js';
import { headOf, scriptOf } from './attempt.js';
import type { FromNode } from './messages.js';

// The process of one server: its name, its port and the URL of Redis.

const MANY = 1_000_000;
const [name = '', port = '0', url = ''] = process.argv.slice(2);
let calls = 0;
let active = 0;

async function* script(query: string) {
  const call = `${name}.${calls++}`;
  active += 1;
  say({ type: 'call', query, call, atMs: monotonicMs() });
  try {
    yield { text: headOf(call) };
    for (const { waitMs, text } of answerTo(scriptOf(query, call))) {
      yield { waitMs };
      yield { text };
    }
    yield { finish: 'stop' } as const;
  } finally {
    active -= 1;
  }
}

const say = (message: FromNode): void => void process.send?.(message);
const plain = createLogger(process.env['CHAOS_LOG'] ?? 'silent');
/** Tells what this server logs of an answer, and when it is without Redis. */
function note({ event, requestId, ...fields }: LogFields): void {
  if (typeof requestId === 'string') {
    const atMs = monotonicMs();
    const line = `${atMs.toFixed(0)} ${name} ${event} ${JSON.stringify(fields)}`;
    say({ type: 'line', requestId, event, line, atMs });
  }
  if (event !== 'REDIS_LOST' && event !== 'REDIS_REACHED') return;
  say({ type: 'redis', isReached: event === 'REDIS_REACHED', atMs: monotonicMs() });
}
const logger: Logger = {
  debug(fields) {
    note(fields);
    plain.debug(fields);
  },
  info(fields) {
    note(fields);
    plain.info(fields);
  },
  warn(fields) {
    note(fields);
    plain.warn(fields);
  },
  error(fields) {
    note(fields);
    plain.error(fields);
  },
};

const server = await createServer({
  env: {},
  port: Number(port),
  redis: { url },
  cache: { enabled: false },
  rateLimit: { requests: MANY },
  limits: { maxHandshakesPerAddress: MANY, maxMessagesPerSecond: MANY },
  logger,
  providers: [
    { provider: mockProvider((prompt) => script(questionOf(prompt))), deadlines: PATIENT },
  ],
});
process.on('message', () => {
  server.http.getConnections((_, sockets) => say({ type: 'stats', active, sockets }));
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url: await server.listen() });
