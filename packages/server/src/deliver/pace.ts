/** Something that sends what it can when told to. */
export interface Flushable {
  flush(): void;
}

/** When readers send. */
export interface Pace {
  /** Has `reader` flush once this turn of the event loop has appended all it will. */
  soon(reader: Flushable): void;
}

/**
 * A provider often yields several tokens in one turn of the event loop. `nextTick` runs after them all,
 * so they leave as one frame, and it costs no latency as a timer would.
 */
export function createPace(): Pace {
  let waiting = new Set<Flushable>();

  function flushAll(): void {
    const readers = waiting;
    waiting = new Set();
    for (const reader of readers) reader.flush();
  }

  return {
    soon(reader) {
      if (waiting.size === 0) process.nextTick(flushAll);
      waiting.add(reader);
    },
  };
}
