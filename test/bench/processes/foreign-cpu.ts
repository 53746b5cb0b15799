import { readFileSync } from 'node:fs';

/** Clock ticks of /proc a second, on every Linux that Node.js runs on. */
const TICKS = 100;

/** Seconds of CPU that the whole machine has used; undefined where there is no /proc. */
function machineSeconds(): number | undefined {
  try {
    const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    return (user + nice + system + irq + softirq + steal) / TICKS;
  } catch {
    return undefined;
  }
}

function processSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the process, in parentheses, may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** @returns a function that gives the cores that other processes have used since, undefined if unknown. */
export function meterForeignCpu(pids: readonly number[]): () => number | undefined {
  const ours = (): number =>
    [process.pid, ...pids].reduce((sum, pid) => sum + processSeconds(pid), 0);
  const machine = machineSeconds();
  if (machine === undefined) return () => undefined;
  const before = machine - ours();
  const startedAt = performance.now();
  return () => {
    const after = (machineSeconds() ?? NaN) - ours();
    return Math.max(0, (after - before) / ((performance.now() - startedAt) / 1000));
  };
}
