import { table } from '../../bench/report/table.js';
import { spreadOf, spreadText } from '../spread.js';
import { PROCESS_FAULTS, type RecoverySteps, runRedisChaos } from './run.js';

// 200 streams at once over three servers that share a Redis, and 2,000 faults: `npm run chaos:redis`.

const seed = process.env['SEED'] ?? String(Math.floor(Math.random() * 1e9));
console.log(`chaos: SEED=${seed} repeats this schedule of faults`);

const visitors = Number(process.env['VISITORS'] ?? 20);
// `KINDS=kill LINKS=0 REST_MS=8000 VISITORS=6 FAULTS=20 PROCESS_FAULTS=20` measures the steps of a recovery.
const kinds = process.env['KINDS']?.split(',');
const report = await runRedisChaos({
  seed,
  nodes: 3,
  visitors,
  processes: 2,
  streamsPerVisitor: 10,
  longestMs: 4_000,
  faults: Number(process.env['FAULTS'] ?? 2_000),
  processFaults: Number(process.env['PROCESS_FAULTS'] ?? 100),
  linksBreak: process.env['LINKS'] !== '0',
  kinds:
    kinds === undefined ? PROCESS_FAULTS : PROCESS_FAULTS.filter((each) => kinds.includes(each)),
  restMs: Number(process.env['REST_MS'] ?? 200),
  faultsMeet: true,
  timeLimitMs: 600_000,
});
const { faults, left, violations } = report;
console.log(
  table(
    ['what', 'figure'],
    [
      ['time', `${report.seconds.toFixed(0)} s`],
      ['streams at once, servers', `${10 * visitors}, 3`],
      ['connections broken', String(faults.cut)],
      ['servers killed; stopped for 0.5 to 6 s', `${faults.kill}; ${faults.stop}`],
      ['Redis killed; subscribers killed', `${faults.redis}; ${faults.subscribers}`],
      ['answers compared by SHA-256', String(report.answers)],
      ['of those, cancelled; with a further attempt', `${report.cancelled}; ${report.replaced}`],
      ['readers apart because the server was without Redis', String(report.apart)],
      ['logs, attempts in Redis', `${report.logs}, ${report.attempts}`],
      ['violations', String(violations.length)],
      ['text again after a cut: p50, p99, max', spreadText(report.outageMs)],
      ...recoveryRows(),
      ...stepRows(),
      ['sockets, generations left', `${left.sockets}, ${left.generations}`],
    ],
  ),
);
function recoveryRows(): [string, string][] {
  const faultNames = { kill: 'SIGKILL', stop: 'SIGSTOP' } as const;
  const stateNames = { redisWell: 'Redis well', redisBroken: 'Redis broken, too' } as const;
  return (['kill', 'stop'] as const).flatMap((fault) =>
    (['redisWell', 'redisBroken'] as const).map((state): [string, string] => {
      const values = report.recoveryMs[fault][state];
      const name = `text again after ${faultNames[fault]}, ${stateNames[state]}: p50, p99, max`;
      return [name, `${spreadText(spreadOf(values))} (${values.length} readers)`];
    }),
  );
}

function stepRows(): [string, string][] {
  const rows: [string, (steps: RecoverySteps) => number][] = [
    ['SIGKILL to claimed', ({ claimed }) => claimed],
    ['claimed to the model asked', ({ claimed, asked }) => asked - claimed],
    ['SIGKILL to the reader connected', ({ connected }) => connected],
    ['model asked and reader connected to text', (s) => s.shown - Math.max(s.asked, s.connected)],
  ];
  return rows.map(([name, of]) => {
    const values = report.steps.map(of).filter((value) => !Number.isNaN(value));
    return [`${name}: p50, p99, max`, `${spreadText(spreadOf(values))} (${values.length} readers)`];
  });
}

for (const violation of violations.slice(0, 20)) console.log(`violation: ${violation}`);
if (violations.length > 20) console.log(`and ${violations.length - 20} more`);
process.exit(violations.length === 0 ? 0 : 1);
