/** An event of an answer's timeline. */
export type Mark =
  | { at: number; type: 'status'; status: string }
  | { at: number; type: 'text'; units: number }
  | { at: number; type: 'fault'; name: string };

/** Measures how an answer grows. Times are those of `performance.now()`. */
export interface Meter {
  readonly marks: readonly Mark[];
  readonly began: number;
  /** The longest time without new text since the newest fault; before one, since the first text. */
  readonly gapMs: number;
  /** The time since the last text; 0 before the first. */
  openGapMs(now: number): number;
  /** Units that came with the text that ended the longest gap. */
  readonly caughtUpUnits: number;
  grow(units: number): void;
  status(status: string): void;
  fault(name: string): void;
}

const MAX_MARKS = 2_000;

export function createMeter(): Meter {
  const began = performance.now();
  const marks: Mark[] = [];
  let length = 0;
  let lastGrowth: number | undefined;
  let gapMs = 0;
  let caughtUpUnits = 0;

  function add(mark: Mark): void {
    if (marks.length < MAX_MARKS) marks.push(mark);
  }

  return {
    marks,
    began,
    get gapMs() {
      return gapMs;
    },
    get caughtUpUnits() {
      return caughtUpUnits;
    },
    openGapMs: (now) => (lastGrowth === undefined ? 0 : now - lastGrowth),
    grow(units) {
      if (units === length) return;
      const at = performance.now();
      const ms = lastGrowth === undefined ? 0 : at - lastGrowth;
      if (ms > gapMs) {
        gapMs = ms;
        caughtUpUnits = Math.max(0, units - length);
      }
      length = units;
      lastGrowth = at;
      add({ at, type: 'text', units });
    },
    status(status) {
      add({ at: performance.now(), type: 'status', status });
    },
    fault(name) {
      gapMs = caughtUpUnits = 0;
      add({ at: performance.now(), type: 'fault', name });
    },
  };
}
