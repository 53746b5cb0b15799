import type { Mishaps } from './proxy.js';

/** The time that a reader waited, in milliseconds. */
export interface Replay {
  /**
   * From the moment that bytes pass again to the first text that the reader shows and that came over
   * the new connection, or after a stall. After a cut bytes pass from when a connection of the reader is
   * taken again: so it is the handshake, and the replay.
   */
  linkMs: number;
  /** The same from the cut, or from when connections are taken again: with the client's own wait. */
  outageMs: number;
}

/** An outage that is followed by another one before any text came is a part of that. */
export function replaysOf(mishaps: Mishaps, grewAtMs: readonly number[]): Replay[] {
  const back = mishaps.backAtMs.toSorted((a, b) => a.atMs - b.atMs);
  const replays: Replay[] = [];
  for (const [i, { atMs, after }] of back.entries()) {
    const linkAt = after === 'cut' ? firstFrom(mishaps.takenAtMs, atMs) : atMs;
    const shownAt = linkAt === undefined ? undefined : firstFrom(grewAtMs, linkAt);
    if (linkAt === undefined || shownAt === undefined) continue;
    const next = back[i + 1]?.atMs ?? Infinity;
    if (next > shownAt) replays.push({ linkMs: shownAt - linkAt, outageMs: shownAt - atMs });
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
