import type { Generation } from './generation.js';

/** Counts the bytes of all streams: their logs, their fixed cost, and the requests in progress. */
export interface MemoryBudget {
  /** The bytes of all principals. A generation that several streams share counts once. */
  readonly usedBytes: number;
  /** The bytes of one principal. A generation that several of its streams share counts once. */
  usedBytesOf(principal: string): number;
  /** @returns the principal that uses the most bytes; undefined if there is none. */
  largestPrincipal(): string | undefined;
  /** Counts one more stream of the principal that uses the generation. */
  add(generation: Generation, principal: string): void;
  /** Counts the generation's log again after it has grown or ended. */
  update(generation: Generation): void;
  /** Counts one stream of the principal less. The bytes of the log are subtracted with the last stream. */
  remove(generation: Generation, principal: string): void;
}

/** A generation without its log and its request: a controller, a set, map entries, the pending call. */
const GENERATION_BYTES = 1_024;
/** A stream without its log: its view of the log, its identity, timers and map entries. */
const STREAM_BYTES = 2_400;

const BYTES_PER_UNIT = 2;
/** An object or a list of parsed JSON. */
const CONTAINER_BYTES = 64;
/** A name and its value in an object of parsed JSON. */
const MEMBER_BYTES = 48;

/**
 * @returns an estimate of the bytes that the JSON uses once it is parsed. Small objects use ten times the
 * bytes of their text. Braces and colons inside of strings are counted, too.
 */
export function bytesOfParsed(json: string): number {
  let bytes = json.length * BYTES_PER_UNIT;
  for (let i = 0; i < json.length; i++) {
    const unit = json[i];
    if (unit === '{' || unit === '[') bytes += CONTAINER_BYTES;
    else if (unit === ':') bytes += MEMBER_BYTES;
  }
  return bytes;
}

interface Count {
  bytes: number;
  /** The number of streams of each principal that use the generation. */
  readonly holders: Map<string, number>;
}

/** Updates the sums when a log grows. Adding up all logs at each start would cost more with each stream. */
export function createMemoryBudget(): MemoryBudget {
  const counts = new Map<Generation, Count>();
  const byPrincipal = new Map<string, number>();
  let held = 0;

  function add(principal: string, bytes: number): void {
    const sum = (byPrincipal.get(principal) ?? 0) + bytes;
    if (sum === 0) byPrincipal.delete(principal);
    else byPrincipal.set(principal, sum);
  }

  function update(generation: Generation): void {
    const count = counts.get(generation);
    if (count === undefined) return;
    const { log, requestBytes } = generation;
    const bytes = GENERATION_BYTES + log.bytes + (log.done ? 0 : requestBytes);
    const growth = bytes - count.bytes;
    if (growth === 0) return;
    count.bytes = bytes;
    held += growth;
    for (const principal of count.holders.keys()) add(principal, growth);
  }

  return {
    get usedBytes() {
      return held;
    },
    usedBytesOf: (principal) => byPrincipal.get(principal) ?? 0,
    largestPrincipal() {
      let heaviest: string | undefined;
      let most = 0;
      for (const [principal, bytes] of byPrincipal) {
        if (bytes > most) [heaviest, most] = [principal, bytes];
      }
      return heaviest;
    },
    add(generation, principal) {
      const count: Count = counts.get(generation) ?? { bytes: 0, holders: new Map() };
      counts.set(generation, count);
      const own = count.holders.get(principal) ?? 0;
      count.holders.set(principal, own + 1);
      held += STREAM_BYTES;
      add(principal, STREAM_BYTES + (own === 0 ? count.bytes : 0));
      update(generation);
    },
    update,
    remove(generation, principal) {
      const count = counts.get(generation);
      const own = count?.holders.get(principal);
      if (count === undefined || own === undefined) return;
      held -= STREAM_BYTES;
      add(principal, -STREAM_BYTES);
      if (own > 1) return void count.holders.set(principal, own - 1);
      count.holders.delete(principal);
      add(principal, -count.bytes);
      if (count.holders.size > 0) return;
      held -= count.bytes;
      counts.delete(generation);
    },
  };
}
