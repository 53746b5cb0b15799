import type { Generation } from './generation.js';

/** Bytes of all streams: their logs, their fixed cost, and the requests that are being answered. */
export interface LogBytes {
  readonly held: number;
  /** Counts one more stream that holds the generation's log. */
  hold(generation: Generation): void;
  /** Counts the log again, which has grown or has got its end. */
  update(generation: Generation): void;
  /** Counts one stream less; the last one takes the log's bytes with it. */
  release(generation: Generation): void;
}

/** A generation without its log and its request: a controller, a set, two map entries, the pending call. */
const GENERATION_BYTES = 1_024;
/** A stream without its log: its view of the log, its identity, timers and map entries. */
const STREAM_BYTES = 2_400;

/** Counts as logs grow: adding all of them up at each start would cost more the more streams there are. */
export function createLogBytes(): LogBytes {
  const counted = new Map<Generation, { bytes: number; holders: number }>();
  let held = 0;

  function update(generation: Generation): void {
    const count = counted.get(generation);
    if (count === undefined) return;
    const { log, requestBytes } = generation;
    const fixedBytes = GENERATION_BYTES + count.holders * STREAM_BYTES;
    const bytes = fixedBytes + log.bytes + (log.done ? 0 : requestBytes);
    held += bytes - count.bytes;
    count.bytes = bytes;
  }

  return {
    get held() {
      return held;
    },
    hold(generation) {
      const count = counted.get(generation) ?? { bytes: 0, holders: 0 };
      count.holders += 1;
      counted.set(generation, count);
      update(generation);
    },
    update,
    release(generation) {
      const count = counted.get(generation);
      if (count === undefined) return;
      count.holders -= 1;
      update(generation);
      if (count.holders > 0) return;
      held -= count.bytes;
      counted.delete(generation);
    },
  };
}
