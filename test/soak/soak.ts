import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { table } from '../bench/report/table.js';
import { type FaultyLink, faultyLink } from '../chaos/proxy.js';
import { type Peer, startPeer } from '../harness/peer.js';
import type { FromPeer, Sample, Tally, ToPeer } from './messages.js';
import { drawPlot } from './plot.js';

// Visitors ask, stop, leave, come back and lose their connections for 30 minutes, and one in eight calls of the
// model fails: `npm run soak`. Memory, resources and listeners have to stay as they are after the first minutes.

const LINKS = 10;
const STREAMS_PER_LINK = 10;
const LONGEST_CONNECTION_MS = 8_000;
const SAMPLE_EVERY_MS = 5_000;
/** In this time after the last visitor has left, the server drops what it still keeps. */
const REST_MS = 45_000;
/**
 * The allowed growth of a figure from the second fifth of the run to the last: as a share, and in its own
 * unit.
 */
const MAY_GROW: Partial<Record<keyof Sample, [part: number, more: number]>> = {
  heapMb: [0.1, 3],
  rssMb: [0.2, 15],
  resources: [0.2, 20],
  listeners: [0, 0],
};

const minutes = Number(process.env['MINUTES'] ?? 30);
const seed = process.env['SEED'] ?? String(Math.floor(Math.random() * 1e9));
console.log(`soak: ${minutes} minutes; SEED=${seed} repeats the visitors and the faults`);

const violations: string[] = [];
const samples: Record<'server' | 'visitors', Sample[]> = { server: [], visitors: [] };
let tally: Tally | undefined;
let drops = 0;

const peers = {
  server: startPeer<ToPeer, FromPeer>(new URL('./server.ts', import.meta.url)),
  visitors: startPeer<ToPeer, FromPeer>(new URL('./visitors.ts', import.meta.url)),
};
const links: FaultyLink[] = [];

async function sampleOf(peer: Peer<ToPeer, FromPeer>) {
  const next = peer.next(({ type }) => type === 'sample');
  peer.send({ type: 'sample' });
  const message = await next;
  if (message.type !== 'sample') throw new Error('unreachable');
  return message;
}

async function sampleAll(): Promise<void> {
  for (const name of ['server', 'visitors'] as const) {
    const message = await sampleOf(peers[name]);
    samples[name].push(message.sample);
    tally = message.tally ?? tally;
  }
}

try {
  const listening = await peers.server.next(({ type }) => type === 'listening');
  const url = listening.type === 'listening' ? listening.url : '';
  for (let i = 0; i < LINKS; i++) {
    const plan = { seed, longestMs: LONGEST_CONNECTION_MS };
    links.push(await faultyLink(url, `link ${i}`, plan, () => (drops += 1)));
  }
  const before = (await sampleOf(peers.server)).sample;
  peers.visitors.onMessage((message) => {
    if (message.type === 'violation') violations.push(message.what);
  });
  const stopped = peers.visitors.next(({ type }) => type === 'stopped');
  peers.visitors.send({
    type: 'read',
    urls: links.map((link) => link.url),
    streams: STREAMS_PER_LINK,
    seed,
  });
  const endsAt = performance.now() + minutes * 60_000;
  while (performance.now() < endsAt) {
    await wait(Math.min(SAMPLE_EVERY_MS, endsAt - performance.now()));
    await sampleAll();
  }
  for (const link of links) link.calm();
  peers.visitors.send({ type: 'stop' });
  await stopped;
  await wait(REST_MS);
  const after = (await sampleOf(peers.server)).sample;
  for (const name of ['server', 'visitors'] as const) violations.push(...growthIn(name));
  if (after.sockets > 0) violations.push(`${after.sockets} sockets are left`);
  if (after.generations > 0) violations.push(`${after.generations} generations are left`);
  print(before, after);
} finally {
  for (const link of links) link.close();
  for (const peer of Object.values(peers)) peer.kill();
}
for (const violation of violations.slice(0, 20)) console.log(`violation: ${violation}`);
process.exit(violations.length === 0 ? 0 : 1);

function growthIn(name: 'server' | 'visitors'): string[] {
  const found: string[] = [];
  for (const [figure, [part, more]] of Object.entries(MAY_GROW)) {
    const values = samples[name].map((sample) => sample[figure as keyof Sample]);
    const fifth = Math.floor(values.length / 5);
    const early = median(values.slice(fifth, 2 * fifth));
    const late = median(values.slice(-fifth));
    if (late <= early * (1 + part) + more) continue;
    found.push(`${figure} of the ${name} grew from ${early.toFixed(1)} to ${late.toFixed(1)}`);
  }
  return found;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function print(before: Sample, after: Sample): void {
  const rows = Object.entries(tally ?? {}).map(([what, count]) => [what, String(count)]);
  const figures = (['heapMb', 'rssMb', 'resources', 'listeners', 'sockets'] as const).map(
    (figure) => [
      `${figure} of the server: before, and after the visitors have left`,
      `${before[figure].toFixed(1)}, ${after[figure].toFixed(1)}`,
    ],
  );
  rows.push(['connections broken', String(drops)], ...figures);
  rows.push(['violations', String(violations.length)]);
  console.log(table(['what', 'figure'], rows));
  const folder = new URL('../.artifacts/soak/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL('samples.json', folder), JSON.stringify({ seed, minutes, samples }));
  writeFileSync(new URL('soak.svg', folder), drawPlot(samples));
  console.log('plot: test/.artifacts/soak/soak.svg');
}
