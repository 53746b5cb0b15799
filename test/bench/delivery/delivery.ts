import { median, table } from '../measure.js';
import { churn, idle, load, slowReaders } from './measures.js';

// What delivery costs, beside plain Socket.IO in the same run: `npm run bench:delivery`.

const ROUNDS = Number(process.env['ROUNDS'] ?? 3);
const only = process.argv[2];
const rows: (string | number)[][] = [];

async function rounds<T>(measure: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let round = 0; round < ROUNDS; round++) results.push(await measure());
  return results;
}

const wanted = (name: string): boolean => only === undefined || only === name;

if (wanted('idle')) {
  const pairs = await rounds(async () => ({
    floor: await idle('floor', 1_000),
    ours: await idle('rivulet', 1_000),
  }));
  for (const what of ['heapKb', 'rssKb'] as const) {
    const floor = median(pairs.map((pair) => pair.floor[what]));
    const ours = median(pairs.map((pair) => pair.ours[what]));
    rows.push([`idle connection, ${what}`, floor, ours, ours / floor]);
  }
}

if (wanted('load')) {
  const pairs = await rounds(async () => ({
    floor: await load('floor', 1_000, 15),
    ours: await load('rivulet', 1_000, 15),
  }));
  for (const what of ['missing', 'p50', 'p99', 'cpuPercent', 'seconds'] as const) {
    const floor = median(pairs.map((pair) => pair.floor[what]));
    const ours = median(pairs.map((pair) => pair.ours[what]));
    rows.push([`1,000 streams, ${what}`, floor, ours, ours / floor]);
  }
}

if (wanted('slow')) {
  for (const windowUnits of [65_536, undefined]) {
    const name = windowUnits === undefined ? 'plain' : 'with a window';
    const results = await rounds(() => slowReaders(1_000, windowUnits));
    for (const what of ['heapMb', 'rssMb'] as const) {
      const bound = results[0]!.boundMb;
      const ours = median(results.map((result) => result[what]));
      rows.push([
        `1,000 stopped readers (${name}), ${what}, beside its bound`,
        bound,
        ours,
        ours / bound,
      ]);
    }
    for (const what of ['p50', 'p99'] as const) {
      const alone = median(results.map((result) => result.alone[what]));
      const beside = median(results.map((result) => result.beside[what]));
      rows.push([
        `a reader beside them (${name}), ${what} ms, alone and then`,
        alone,
        beside,
        beside / alone,
      ]);
    }
  }
}

if (wanted('churn')) {
  const results = await rounds(() => churn(10_000));
  for (const what of ['heapKb', 'bytesPerStream', 'resourcesMore', 'socketsLeft'] as const) {
    rows.push([
      `10,000 streams that came and went, ${what}`,
      '',
      median(results.map((r) => r[what])),
      '',
    ]);
  }
}

console.log(table(['measure', 'plain Socket.IO', 'Rivulet', 'ratio'], rows));
process.exit(0);
