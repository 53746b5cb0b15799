import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { drawGraphs } from '../../harness/line-graphs.js';
import { type Peer, startPeer } from '../../harness/peer.js';
import { runRedis, type TestRedis } from '../../harness/redis.js';
import { table } from '../report/table.js';
import type { FromReaders, FromServer, Reading, ToReaders, ToServer } from './messages.js';

// Measures the cost of streams over Redis, compared with streams of one process: `npm run bench:scaling`. All
// processes run on one machine; `test/bench/README.md` describes the limits of this.

interface Cost {
  cpuUsPerToken: number;
  p50: number;
  p99: number;
  wrong: number;
  redisCpu: number;
  appendsPerSecond: number;
  redisKbPerStream: number;
}

const IS_QUICK = process.argv.includes('--quick');
const SECONDS = IS_QUICK ? 5 : 15;
const PACED = { streams: 200, tokens: SECONDS * 40, everyMs: 25 };
const MANY = { streams: IS_QUICK ? 200 : 1_000, tokens: SECONDS * 10, everyMs: 100 };
const QUESTIONS = IS_QUICK ? 50 : 200;

type Server = Peer<ToServer, FromServer> & { url: string };

async function startServer(redisUrl: string | undefined): Promise<Server> {
  const args = redisUrl === undefined ? [] : [redisUrl];
  const peer = startPeer<ToServer, FromServer>(new URL('./server.ts', import.meta.url), args);
  const message = await peer.next(({ type }) => type === 'listening');
  return { ...peer, url: message.type === 'listening' ? message.url : '' };
}

async function usageOf(servers: readonly Server[]): Promise<{ cpuMs: number; tokens: number }> {
  const total = { cpuMs: 0, tokens: 0 };
  for (const server of servers) {
    server.send({ type: 'usage' });
    const message = await server.next(({ type }) => type === 'usage');
    if (message.type !== 'usage') continue;
    total.cpuMs += message.cpuMs;
    total.tokens += message.tokens;
  }
  return total;
}

async function redisUsage(redis: TestRedis | undefined) {
  if (redis === undefined) return { cpuMs: 0, bytes: 0, calls: 0 };
  const info = async (section: string): Promise<string> =>
    String(await redis.command('INFO', section));
  const read = (text: string, name: RegExp): number => Number(name.exec(text)?.[1] ?? 0);
  const [cpu, memory, commands] = [
    await info('cpu'),
    await info('memory'),
    await info('commandstats'),
  ];
  return {
    cpuMs: 1000 * (read(cpu, /^used_cpu_user:([\d.]+)/m) + read(cpu, /^used_cpu_sys:([\d.]+)/m)),
    bytes: read(memory, /^used_memory:(\d+)/m),
    calls: read(commands, /^cmdstat_xadd:calls=(\d+)/m),
  };
}

/** Reads streams of `count` servers. `reads` has the server at which they are read, unless at their own. */
async function measure(
  count: number,
  hasRedis: boolean,
  load: Omit<Reading, 'type' | 'askUrls'>,
  isReadElsewhere = false,
): Promise<Cost> {
  const redis = hasRedis ? await runRedis('--maxmemory-policy', 'noeviction') : undefined;
  const owners = await Promise.all(Array.from({ length: count }, () => startServer(redis?.url)));
  const other = isReadElsewhere ? await startServer(redis?.url) : undefined;
  const readers = startPeer<ToReaders, FromReaders>(new URL('./readers.ts', import.meta.url));
  try {
    const [before, redisBefore] = [await usageOf(owners), await redisUsage(redis)];
    const startedAt = performance.now();
    const readUrl = other && { readUrl: other.url };
    readers.send({ type: 'read', ...load, askUrls: owners.map(({ url }) => url), ...readUrl });
    const read = await readers.next(({ type }) => type === 'read');
    if (read.type !== 'read') throw new Error('unreachable');
    const seconds = (performance.now() - startedAt) / 1000;
    const [after, redisAfter] = [await usageOf(owners), await redisUsage(redis)];
    const { p50, p99, wrong } = read;
    return {
      cpuUsPerToken: (1000 * (after.cpuMs - before.cpuMs)) / (after.tokens - before.tokens),
      p50,
      p99,
      wrong,
      redisCpu: (redisAfter.cpuMs - redisBefore.cpuMs) / 1000 / seconds,
      appendsPerSecond: (redisAfter.calls - redisBefore.calls) / seconds,
      redisKbPerStream: (redisAfter.bytes - redisBefore.bytes) / 1024 / load.streams,
    };
  } finally {
    readers.kill();
    for (const server of owners) server.kill();
    other?.kill();
    await redis?.end();
  }
}

async function firstText(hasRedis: boolean): Promise<{ p50: number; p99: number }> {
  const redis = hasRedis ? await runRedis('--maxmemory-policy', 'noeviction') : undefined;
  const server = await startServer(redis?.url);
  const readers = startPeer<ToReaders, FromReaders>(new URL('./readers.ts', import.meta.url));
  try {
    readers.send({ type: 'ask', url: server.url, times: QUESTIONS });
    const asked = await readers.next(({ type }) => type === 'asked');
    return asked.type === 'asked' ? asked : { p50: NaN, p99: NaN };
  } finally {
    readers.kill();
    server.kill();
    await redis?.end();
  }
}

const rows: string[][] = [];
let wrong = 0;
function add(name: string, cost: Cost): void {
  wrong += cost.wrong;
  const row = [
    name,
    `${cost.cpuUsPerToken.toFixed(0)} µs`,
    `${cost.p50.toFixed(1)} / ${cost.p99.toFixed(0)} ms`,
    cost.redisCpu === 0 ? '' : `${(100 * cost.redisCpu).toFixed(0)} %`,
    cost.appendsPerSecond === 0 ? '' : cost.appendsPerSecond.toFixed(0),
    cost.redisKbPerStream === 0 ? '' : cost.redisKbPerStream.toFixed(1),
  ];
  rows.push(row);
  console.error(row.join(', '));
}

const paced = `${PACED.streams} streams, 40 tokens/s each`;
add(`${paced}, without Redis`, await measure(1, false, PACED));
add(`${paced}, with Redis`, await measure(1, true, PACED));
add(`${paced}, read through another server`, await measure(1, true, PACED, true));
const many = `${MANY.streams} streams, 10 tokens/s each`;
const costs: [servers: number, cost: Cost][] = [];
for (const count of [1, 2, 3]) {
  const cost = await measure(count, true, MANY);
  costs.push([count, cost]);
  add(`${many}, ${count} server${count > 1 ? 's' : ''}`, cost);
}
const [without, withRedis] = [await firstText(false), await firstText(true)];

const heads = [
  'load',
  'CPU of the owners for a token',
  'provider to reader, p50 / p99',
  'CPU of Redis',
  'appends/s',
  'KB of Redis for a stream',
];
console.log(`\n${availableParallelism()} cores, Node.js ${process.version}\n`);
console.log(table(heads, rows));
console.log(
  `\nfirst text, p50 / p99: ${without.p50.toFixed(1)} / ${without.p99.toFixed(0)} ms without Redis, ` +
    `${withRedis.p50.toFixed(1)} / ${withRedis.p99.toFixed(0)} ms with it`,
);
console.log(`streams with a wrong text: ${wrong}`);

const FIGURES = [
  ['cpuUsPerToken', 'CPU of the owners for a token, µs'],
  ['p50', 'provider to reader, p50, ms'],
] as const;
const graphs = FIGURES.map(([figure, title]) => ({
  title: `${many}: ${title}`,
  lines: new Map([
    ['over Redis', costs.map(([servers, cost]) => [servers, cost[figure]] as const)],
  ]),
  ticks: costs.map(([x]) => ({ x, label: x === 1 ? '1 server' : `${x} servers` })),
}));
const folder = new URL('../../.artifacts/bench/', import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(new URL('scaling.svg', folder), drawGraphs(graphs));
console.log('plot: test/.artifacts/bench/scaling.svg');
process.exit(wrong === 0 ? 0 : 1);
