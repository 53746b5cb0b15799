import { cpus } from 'node:os';
import { medianOf, type Result } from './results.js';
import { type Goal, ROWS } from './rows.js';
import { type StackName, STACKS } from './stacks/stack.js';

const NAMES: Record<StackName, string> = {
  ws: '`ws`',
  sse: 'Node SSE',
  sio: 'Socket.IO',
  ai: 'AI SDK',
  rivulet: 'Rivulet',
};

/** The results in Markdown. */
export function report(results: readonly Result[]): string {
  const stacks = STACKS.filter((name) => results.some(({ stack }) => stack === name));
  const [cpu] = cpus();
  return [
    '# Benchmark',
    `${rounds(results)}, medians; ${cpus().length} x ${cpu?.model ?? 'unknown CPU'}, Node.js ${process.version}.`,
    rowTable(results, stacks),
    notes(results),
  ].join('\n\n');
}

function rounds(results: readonly Result[]): string {
  const count = Math.max(0, ...results.map(({ round }) => round + 1));
  return count === 1 ? 'One round' : `${count} rounds`;
}

function rowTable(results: readonly Result[], stacks: readonly StackName[]): string {
  const rows = ROWS.flatMap(({ title, measurement, figure, unit, goal }) => {
    const valueOf = (stack: StackName) => medianOf(results, measurement, stack, figure);
    const cells = stacks.map((stack) => format(valueOf(stack), unit));
    if (cells.every((cell) => cell === '')) return [];
    const ours = valueOf('rivulet');
    const other = valueOf(goal?.timesThatOf ?? 'ws');
    const ratio = ours === undefined || other === undefined ? undefined : ours / other;
    const measured = goal?.timesThatOf === undefined ? ours : ratio;
    return [[title, ...cells, format(ratio, 'x'), textOf(goal, unit), verdict(goal, measured)]];
  });
  return table(['', ...stacks.map((stack) => NAMES[stack]), 'ratio', 'goal', 'met'], rows);
}

function textOf(goal: Goal | undefined, unit: string): string {
  if (goal === undefined) return '';
  if ('atLeast' in goal) return `at least ${format(goal.atLeast, unit)}`;
  if (goal.timesThatOf === undefined) return `at most ${format(goal.atMost, unit)}`;
  return `at most ${goal.atMost} x ${NAMES[goal.timesThatOf]}`;
}

function verdict(goal: Goal | undefined, measured: number | undefined): string {
  if (goal === undefined || measured === undefined) return '';
  const isMet = 'atLeast' in goal ? measured >= goal.atLeast : measured <= goal.atMost;
  return isMet ? 'yes' : '**no**';
}

/** What makes figures doubtful, and what failed. */
function notes(results: readonly Result[]): string {
  const wrong = results.filter(({ figures }) => figures !== undefined && figures.wrong > 0);
  const lines = [
    ...results.flatMap(({ measurement, stack, round, error }) =>
      error === undefined
        ? []
        : [`**Failed**: ${measurement}, ${stack}, round ${round + 1}: ${error}`],
    ),
    ...wrong.map(
      ({ measurement, stack, round, figures }) =>
        `**Wrong text**: ${measurement}, ${stack}, round ${round + 1}: ${figures?.wrong} streams`,
    ),
    ...results.flatMap(({ measurement, stack, round, foreignCores = 0 }) =>
      foreignCores < NOTABLE_CORES
        ? []
        : [
            `Other processes used ${foreignCores.toFixed(1)} cores: ${measurement}, ${stack}, round ${round + 1}`,
          ],
    ),
    ...results.flatMap(({ measurement, stack, round, figures }) =>
      (figures?.['clientBusy'] ?? 0) < SATURATED
        ? []
        : [
            `The clients' process was saturated, so latencies are partly its own: ${measurement}, ${stack}, round ${round + 1}`,
          ],
    ),
  ];
  if (wrong.length === 0) lines.unshift('All text was exact.');
  return lines.map((line) => `- ${line}`).join('\n');
}

const NOTABLE_CORES = 0.2;
const SATURATED = 0.95;

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = heads.map(() => '---');
  return [heads, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function format(value: number | undefined, unit: string): string {
  if (value === undefined) return '';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const number = Number(value.toFixed(digits)).toLocaleString('en');
  return unit === '%' || unit === 'x' ? `${number}${unit}` : `${number} ${unit}`;
}
