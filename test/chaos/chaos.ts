import { table } from '../bench/report/table.js';
import { runChaos } from './run.js';
import { spreadText } from './spread.js';

// 200 streams at once whose connections are broken 5,000 times in all: `npm run chaos`.

const REPLAY_P99_MS = 1_000;
const seed = process.env['SEED'] ?? String(Math.floor(Math.random() * 1e9));
console.log(`chaos: SEED=${seed} repeats this schedule of faults`);

const report = await runChaos({
  seed,
  clients: 18,
  processes: 3,
  plainClients: 2,
  streamsPerClient: 10,
  longestMs: 2_500,
  drops: Number(process.env['DROPS'] ?? 5_000),
  timeLimitMs: 480_000,
});
const { drops, left, violations } = report;
if (!(report.linkMs.p99 < REPLAY_P99_MS))
  violations.push(`replay p99 is not under ${REPLAY_P99_MS} ms`);
console.log(
  table(
    ['what', 'figure'],
    [
      ['time', `${report.seconds.toFixed(0)} s`],
      ['streams at once', '200'],
      ['connections broken', `${drops.all} (FIN ${drops.fin}, RST ${drops.reset})`],
      ['of those, no new one taken for a while', String(drops.thenDown)],
      ['connections stalled', String(report.stalls)],
      ['answers compared by SHA-256', String(report.answers)],
      ['snapshots compared', String(report.snapshots)],
      ['violations', String(violations.length)],
      ['generations, and started twice', `${report.generations}, ${report.generatedTwice}`],
      ['replays measured', String(report.replays)],
      ['replay once bytes pass again: p50, p99, max', spreadText(report.linkMs)],
      ["with the client's own wait: p50, p99, max", spreadText(report.outageMs)],
      ['sockets, generations left', `${left.sockets}, ${left.generations}`],
    ],
  ),
);
for (const violation of violations.slice(0, 20)) console.log(`violation: ${violation}`);
if (violations.length > 20) console.log(`and ${violations.length - 20} more`);
process.exit(violations.length === 0 ? 0 : 1);
