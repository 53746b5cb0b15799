import type { Generation } from './generation.js';

/** Bytes of all logs, and of the requests that are being answered. */
export interface LogBytes {
  readonly held: number;
  /** One more stream holds the generation's log. */
  hold(generation: Generation): void;
  /** The log has grown, or has got its end. */
  update(generation: Generation): void;
  /** One stream less holds it; with the last one its bytes are gone. */
  release(generation: Generation): void;
}

/** Counts as logs grow: adding them all up at each start would cost more the more streams there are. */
export function createLogBytes(): LogBytes {
  const counted = new Map<Generation, { bytes: number; holders: number }>();
  let held = 0;

  function update(generation: Generation): void {
    const count = counted.get(generation);
    if (count === undefined) return;
    const { log, requestBytes } = generation;
    const bytes = log.bytes + (log.done ? 0 : requestBytes);
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
      if (count.holders > 0) return;
      held -= count.bytes;
      counted.delete(generation);
    },
  };
}
