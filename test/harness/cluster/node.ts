import { setTimeout as wait } from 'node:timers/promises';
import { createLogger, createServer, type Prompt, type Provider } from '@rivulet/server';

// One process of a cluster. Its provider says the numbers of the words of `count <words> <ms>`, one word each
// `ms`. It calls a tool first if the question is `tool …`, one that needs approval for `approve …`, and the client's
// tool `place` for `page …`. What happens is a line on its stdout.

let block = 0;

/** The tools that are called, by the first word of the question. */
const TOOLS = new Map([
  ['tool', 'charge'],
  ['approve', 'refund'],
  ['page', 'place'],
]);

const provider: Provider = {
  name: 'counter',
  model: 'm',
  async *stream(prompt: Prompt, signal) {
    const question = prompt.messages.find(({ role }) => role === 'user');
    const text = question !== undefined && 'text' in question ? question.text : '';
    const [kind, words = '1', ms = '10'] = text.split(' ');
    console.log(`call ${text}`);
    const called = TOOLS.get(kind ?? '');
    if (called !== undefined && !prompt.messages.some(({ role }) => role === 'tool')) {
      yield { type: 'tool_call', name: called, arguments: {} };
      yield { type: 'finish', reason: 'stop', usage: {} };
      return;
    }
    if (called !== undefined) console.log(`tools ${JSON.stringify(prompt.messages.slice(-1))}`);
    for (let i = 0; i < Number(words); i++) {
      await wait(Number(ms), undefined, { signal });
      yield { type: 'text', text: `${i} ` };
    }
    yield { type: 'finish', reason: 'stop', usage: {} };
  },
};

const server = await createServer({
  port: 0,
  env: process.env,
  logger: createLogger('silent'),
  providers: [{ provider, concurrency: Number(process.env['CONCURRENCY'] ?? Infinity) }],
  tools: [
    {
      name: 'charge',
      description: 'Charges.',
      parameters: { type: 'object' },
      async call(_, { signal }) {
        console.log('charged');
        // It never returns before its process is killed.
        if (process.env['TOOL_HANGS'] === '1') await wait(60_000, undefined, { signal });
        return 'paid';
      },
    },
    {
      name: 'refund',
      description: 'Refunds.',
      parameters: { type: 'object' },
      awaits: 'approval',
      async call(_, { signal }) {
        console.log('refunded');
        if (process.env['TOOL_HANGS'] === '1') await wait(60_000, undefined, { signal });
        return 'refunded';
      },
    },
  ],
  limits: { maxConnectionsPerPrincipal: 1_000, maxStreamsPerPrincipal: 1_000 },
  rateLimit: { requests: 100_000, windowSeconds: 60 },
});
process.on('SIGUSR2', () => {
  const until = Date.now() + 10_000;
  while (Date.now() < until) block += 1;
});
process.on('SIGTERM', () => {
  void server
    .drain()
    .then(() => server.close())
    .then(() => process.exit(0));
});
console.log(`listening ${await server.listen()}`);
