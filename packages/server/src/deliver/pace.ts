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

/** How busy the event loop is, from 0 to 1, since it was last asked. */
export type Utilization = () => number;

const MEASURE_EVERY_MS = 100;
const BUSY = 0.9;
const EASY = 0.7;
const FIRST_STRETCH_MS = 10;
const MAX_STRETCH_MS = 160;

/**
 * A provider often yields several tokens in one turn of the event loop. `nextTick` runs after them all,
 * so they leave as one frame, and it costs no latency as a timer would. A write costs the same however
 * small, so a process that is behind writes less often, and each reader gets one larger slice.
 */
export function createPace(utilization: Utilization = loopUtilization()): Pace {
  let waiting = new Set<Flushable>();
  let stretched = new Set<Flushable>();
  let stretchMs = 0;
  let measuredAt = performance.now();

  function flushAll(readers: Set<Flushable>): void {
    for (const reader of readers) reader.flush();
  }

  function flushWaiting(): void {
    const readers = waiting;
    waiting = new Set();
    flushAll(readers);
  }

  function flushStretched(): void {
    const readers = stretched;
    stretched = new Set();
    flushAll(readers);
  }

  function measure(): void {
    const now = performance.now();
    if (now - measuredAt < MEASURE_EVERY_MS) return;
    measuredAt = now;
    const busy = utilization();
    if (busy > BUSY) stretchMs = Math.min(MAX_STRETCH_MS, stretchMs * 2 || FIRST_STRETCH_MS);
    else if (busy < EASY) stretchMs = stretchMs <= FIRST_STRETCH_MS ? 0 : stretchMs / 2;
  }

  return {
    soon(reader) {
      measure();
      if (stretchMs > 0 && !reader.isFresh) {
        if (stretched.size === 0) setTimeout(flushStretched, stretchMs);
        stretched.add(reader);
        return;
      }
      if (waiting.size === 0) process.nextTick(flushWaiting);
      waiting.add(reader);
    },
  };
}

function loopUtilization(): Utilization {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}
