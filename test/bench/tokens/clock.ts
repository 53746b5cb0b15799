/**
 * `performance.now()` is cheap and begins at a time of its own in each process. An interruption between
 * the two reads makes their difference smaller, never larger.
 */
function offsetMs(): number {
  let largest = -Infinity;
  for (let i = 0; i < 1_000; i++) {
    const readMs = Number(process.hrtime.bigint()) / 1e6;
    largest = Math.max(largest, readMs - performance.now());
  }
  return largest;
}

const offset = offsetMs();

/** Milliseconds of CLOCK_MONOTONIC, which all processes of this machine share. */
export function monotonicMs(): number {
  return offset + performance.now();
}
