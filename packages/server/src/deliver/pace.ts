/** Something that sends what it can when told to. */
export interface Flushable {
  /** Whether nothing was sent yet: who waits for the first text waits for the server. */
  readonly isFresh: boolean;
  flush(): void;
}

/** When readers send. */
export interface Pace {
  /** Has `reader` flush once this turn of the event loop has appended all it will; later under load. */
  soon(reader: Flushable): void;
}

const MEASURE_EVERY_MS = 20;
/** What a timer is late by in a process that has nothing else to do, and somewhat more. */
const EASY_LAG_MS = 4;
const MAX_STRETCH_MS = 160;
/** Of the newest lag in the one that counts. */
const WEIGHT = 0.3;

/**
 * A provider often yields several tokens in one turn of the event loop. `nextTick` runs after them all,
 * so they leave as one frame, and it costs no latency as a timer would. A write costs the same however
 * small, so a process that is behind writes less often, the less the later its timers come, and each
 * reader gets one larger slice.
 */
export function createPace(): Pace {
  let waiting = new Set<Flushable>();
  let stretched = new Set<Flushable>();
  let lagMs = 0;
  let measuredAt = 0;

  function flushWaiting(): void {
    const readers = waiting;
    waiting = new Set();
    for (const reader of readers) reader.flush();
  }

  function flushStretched(): void {
    const readers = stretched;
    stretched = new Set();
    for (const reader of readers) reader.flush();
  }

  function measure(): void {
    const now = performance.now();
    if (now - measuredAt < MEASURE_EVERY_MS) return;
    measuredAt = now;
    setTimeout(() => {
      const lateMs = Math.max(0, performance.now() - now - 1);
      lagMs += (lateMs - lagMs) * WEIGHT;
    }, 1);
  }

  return {
    soon(reader) {
      measure();
      if (lagMs > EASY_LAG_MS && !reader.isFresh) {
        const stretchMs = Math.min(MAX_STRETCH_MS, 2 * lagMs);
        if (stretched.size === 0) setTimeout(flushStretched, stretchMs);
        stretched.add(reader);
        return;
      }
      if (waiting.size === 0) process.nextTick(flushWaiting);
      waiting.add(reader);
    },
  };
}
