import { availableParallelism } from 'node:os';
import { startPeer } from '../../harness/peer.js';
import { table } from '../report/table.js';
import type {
  FromClients,
  FromServer,
  LoadPlan,
  LoadResult,
  Stack,
  ToClients,
  ToServer,
} from './messages.js';

// Many clients whose connections are reset all the time: `npm run bench:load`. The same with plain Socket.IO, with
// and without its connection state recovery. 2,000 clients get 600 tokens each, 1.2 million in all, and lose
// their connections 80,000 times. `-- --quick` takes a tenth of that.

const IS_QUICK = process.argv.includes('--quick');
const STACKS: Stack[] = ['rivulet', 'recovery', 'socket.io'];
const NAMES: Record<Stack, string> = {
  rivulet: 'Rivulet',
  recovery: 'Socket.IO with connection state recovery',
  'socket.io': 'Socket.IO',
};

async function measure(plan: LoadPlan) {
  const args = [JSON.stringify(plan)];
  const server = startPeer<ToServer, FromServer>(new URL('./server.ts', import.meta.url), args);
  const clients = startPeer<ToClients, FromClients>(new URL('./clients.ts', import.meta.url), args);
  try {
    const listening = await server.next(({ type }) => type === 'listening');
    if (listening.type !== 'listening') throw new Error('unreachable');
    clients.send({ url: listening.url });
    const { result } = await clients.next(({ type }) => type === 'result');
    server.send({ type: 'usage' });
    const usage = await server.next(({ type }) => type === 'usage');
    if (usage.type !== 'usage') throw new Error('unreachable');
    return { ...result, ...usage };
  } finally {
    server.kill();
    clients.kill();
  }
}

const ms = ([p50, p99]: LoadResult['outageMs']): string =>
  `${p50.toFixed(0)} / ${p99.toFixed(0)} ms`;

const rows: string[][] = [];
for (const stack of STACKS) {
  const plan: LoadPlan = {
    stack,
    clients: IS_QUICK ? 500 : 2_000,
    tokens: IS_QUICK ? 240 : 600,
    everyMs: IS_QUICK ? 250 : 500,
    drops: IS_QUICK ? 8_000 : 80_000,
  };
  const found = await measure(plan);
  const expected = plan.clients * plan.tokens;
  rows.push([
    NAMES[stack],
    `${found.delivered.toLocaleString('en')} of ${expected.toLocaleString('en')}`,
    `${found.lost.toLocaleString('en')} (${((100 * found.lost) / expected).toFixed(2)} %)`,
    `${found.doubled}, ${found.reordered}`,
    found.drops.toLocaleString('en'),
    ms(found.outageMs),
    ms(found.replayMs),
    `${found.cpuSeconds.toFixed(0)} s`,
    `${found.rssMb.toFixed(0)} MB`,
  ]);
  console.log(rows.at(-1)?.join(', '));
}
console.log(`\n${availableParallelism()} cores, Node.js ${process.version}\n`);
console.log(
  table(
    [
      'stack',
      'delivered',
      'lost',
      'doubled, reordered',
      'connections reset',
      'from the reset to the next token, p50 / p99',
      'from the new connection to the next token, p50 / p99',
      'CPU of the server',
      'RSS of the server',
    ],
    rows,
  ),
);
