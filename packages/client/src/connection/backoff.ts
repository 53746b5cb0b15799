const CLOSE_RETRY_MS = 200;
const CLOSE_RETRY_JITTER_MS = 80;
const FIRST_MS = 250;
const MAX_MS = 10_000;

/**
 * Milliseconds before the next attempt in the first seconds of an outage. The jitter spreads the
 * attempts of clients that lost their connections at the same moment.
 */
export function closeRetryMs(random: () => number = Math.random): number {
  return CLOSE_RETRY_MS + CLOSE_RETRY_JITTER_MS * random();
}

/** Milliseconds before the next attempt after `failures` in a row. Half of it is jitter. */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const maxMs = Math.min(MAX_MS, FIRST_MS * 2 ** failures);
  return maxMs / 2 + (maxMs / 2) * random();
}
