/**
 * `performance.now()` is cheap and begins at a time of its own in each process. The difference to
 * CLOCK_MONOTONIC is smallest where nothing interrupted the two reads.
 */
function offsetMs(): number {
  let smallest = Infinity;
  for (let i = 0; i < 1_000; i++) {
    const readMs = Number(process.hrtime.bigint()) / 1e6;
    smallest = Math.min(smallest, readMs - performance.now());
  }
  return smallest;
}

const offset = offsetMs();

/** Milliseconds of CLOCK_MONOTONIC, which all processes of this machine share. */
export function monotonicMs(): number {
  return offset + performance.now();
}
