const FIRST_MS = 250;
const MAX_MS = 10_000;

/**
 * Milliseconds to wait before the next try after `failures` in a row. Half of it is chance, so that
 * all the clients of a server that restarts do not come back at one moment.
 */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const most = Math.min(MAX_MS, FIRST_MS * 2 ** failures);
  return most / 2 + (most / 2) * random();
}
