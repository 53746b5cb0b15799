import type { Mishaps } from './proxy.js';

/**
 * How long each outage of one link lasted for its reader: from the moment that the link lets bytes
 * through again to the first text that the reader shows which came over it. After a cut that moment is
 * when connections are taken again, so the wait includes the client's own before it tries, and the
 * handshake; text that had come over the old connection does not count. An outage that is followed by
 * another one before any text came is a part of that.
 */
export function replaysMs(mishaps: Mishaps, grewAtMs: readonly number[]): number[] {
  const back = mishaps.backAtMs.toSorted((a, b) => a.atMs - b.atMs);
  const replays: number[] = [];
  for (const [i, { atMs, after }] of back.entries()) {
    const linkAt = after === 'cut' ? firstFrom(mishaps.takenAtMs, atMs) : atMs;
    const shownAt = linkAt === undefined ? undefined : firstFrom(grewAtMs, linkAt);
    if (shownAt === undefined) continue;
    const next = back[i + 1]?.atMs ?? Infinity;
    if (next > shownAt) replays.push(shownAt - atMs);
  }
  return replays;
}

/** The first of `sorted` that is not below `least`. */
function firstFrom(sorted: readonly number[], least: number): number | undefined {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < least) low = middle + 1;
    else high = middle;
  }
  return sorted[low];
}
