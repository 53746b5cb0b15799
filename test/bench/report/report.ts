import { cpus } from 'node:os';
import { type Curve, CURVES } from './curves.js';
import { medianOf, type Result } from './results.js';
import { type Goal, ROWS } from './rows.js';
import { table } from './table.js';
import { type StackName, STACKS } from '../stacks/stack.js';

/** The stacks in tables and plots. */
export const NAMES: Record<StackName, string> = {
  ws: 'ws',
  sse: 'Node SSE',
  sio: 'Socket.IO',
  ai: 'AI SDK',
  rivulet: 'Rivulet',
};

/** The results in Markdown. */
export function report(results: readonly Result[]): string {
  const stacks = stacksOf(results);
  const [cpu] = cpus();
  return [
    '# Benchmark',
    `${rounds(results)}, medians; ${cpus().length} x ${cpu?.model ?? 'unknown CPU'}, Node.js ${process.version}.`,
    rowTable(results, stacks),
    ...CURVES.flatMap((curve) => curveTable(curve, results, stacks)),
    notes(results),
  ].join('\n\n');
}

export function stacksOf(results: readonly Result[]): StackName[] {
  return STACKS.filter((name) => results.some(({ stack }) => stack === name));
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

function curveTable(
  { subject, points, figures }: Curve,
  results: readonly Result[],
  stacks: readonly StackName[],
): string[] {
  const columns = figures.flatMap(({ figure, short, unit }) =>
    stacks.map((stack) => ({ figure, unit, stack, head: `${NAMES[stack]} ${short}` })),
  );
  const rows = points.map(({ label, measurement }) => [
    label,
    ...columns.map(({ figure, unit, stack }) =>
      format(medianOf(results, measurement, stack, figure), unit),
    ),
  ]);
  const filled = columns.map((_, i) => rows.some((cells) => cells[i + 1] !== ''));
  const shown = (cells: readonly string[]) => cells.filter((__, i) => i === 0 || filled[i - 1]);
  const shownRows = rows.map(shown).filter((cells) => cells.some((cell, i) => i > 0 && cell));
  if (shownRows.length === 0) return [];
  const title = `${subject}: ${figures.map((each) => each.title).join(', ')}`;
  return [`## ${title}`, table(shown(['', ...columns.map(({ head }) => head)]), shownRows)];
}

/** Less is usual on a machine that does nothing else. */
const NOTABLE_CORES = 0.2;
/** With less to spare, latencies are partly those of the clients. */
const SATURATED = 0.95;

/** Failures, and conditions that make the figures doubtful. */
function notes(results: readonly Result[]): string {
  const lines = results.flatMap((result) => {
    const { measurement, stack, round, error, figures } = result;
    const where = `${measurement}, ${stack}, round ${round + 1}`;
    if (figures === undefined) return [`**Failed**: ${where}: ${error}`];
    return [
      ...(figures.wrong > 0 ? [`**Wrong text**: ${where}: ${figures.wrong} streams`] : []),
      ...((figures['clientBusy'] ?? 0) > SATURATED
        ? [`The clients were saturated, and their latencies are partly their own: ${where}`]
        : []),
    ];
  });
  if (results.every(({ figures }) => figures?.wrong === 0)) lines.unshift('All text was exact.');
  const foreign = results.map(({ foreignCores = 0 }) => foreignCores);
  const noisy = foreign.filter((cores) => cores > NOTABLE_CORES);
  if (noisy.length > 0) {
    lines.push(
      `Other processes used ${NOTABLE_CORES} to ${Math.max(...noisy).toFixed(1)} cores during ${noisy.length} of ${foreign.length} measurements. Latencies and CPU times of those are too high.`,
    );
  }
  return lines.map((line) => `- ${line}`).join('\n');
}

function format(value: number | undefined, unit: string): string {
  if (value === undefined) return '';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const number = Number(value.toFixed(digits)).toLocaleString('en');
  return unit === '%' || unit === 'x' ? `${number}${unit}` : `${number} ${unit}`;
}
