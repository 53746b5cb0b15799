import { performance } from 'node:perf_hooks';

/** Something that sends what it can when told to. */
export interface Flushable {
  /** True until it has sent text: a user who waits for the first text waits for the server. */
  readonly isFresh: boolean;
  /** Set by the pace: true while a flush is scheduled. */
  isScheduled: boolean;
  flush(): void;
}

/** The load of the process since the previous measurement. */
export interface Load {
  /** The share of the time in which the event loop was busy, from 0 to 1. */
  utilization: number;
  /** The delay of a timer beyond its time. */
  lagMs: number;
}

const MEASURE_EVERY_MS = 50;
/** Above it, the process does not keep up. */
const MAX_UTILIZATION = 0.9;
/** The time of one frame on a screen. */
const FRAME_MS = 16;
/** The weight of the newest measurement in the average that counts. */
const WEIGHT = 0.3;
const MIN_STRETCH_MS = 8;
const MAX_STRETCH_MS = 160;
/** The stretch changes by this factor with each measurement. */
const STEP = 1.5;

/**
 * When readers send. A provider often yields several tokens in one turn of the event loop. `nextTick`
 * runs after them all, so they leave as one frame, without the latency of a timer. A write costs the same
 * however small it is, so a process that does not keep up writes less often, and each reader gets one
 * larger frame. The interval grows while the process does not keep up, and shrinks to nothing while it does.
 */
export class Pace {
  #waiting: Flushable[] = [];
  #stretched: Flushable[] = [];
  #stretchMs = 0;
  #utilization = 0;
  #lagMs = 0;
  #isActive = false;
  #timer: NodeJS.Timeout | undefined;
  #measuredAt = 0;
  #before = performance.eventLoopUtilization();
  readonly #flushWaiting = (): void => {
    const readers = this.#waiting;
    this.#waiting = [];
    flushAll(readers);
  };
  readonly #flushStretched = (): void => {
    const readers = this.#stretched;
    this.#stretched = [];
    flushAll(readers);
  };
  readonly #onTimer = (): void => {
    // No timer runs, and none is paid for, in a process whose streams wait.
    if (!this.#isActive) this.#stop();
    else this.measured(this.#measure());
    this.#isActive = false;
  };

  /** Schedules a flush of `reader` at the end of this turn of the event loop; later under load. */
  soon(reader: Flushable): void {
    if (reader.isScheduled) return;
    reader.isScheduled = true;
    this.#isActive = true;
    if (this.#timer === undefined) this.#start();
    if (this.#stretchMs > 0 && !reader.isFresh) {
      if (this.#stretched.push(reader) === 1) setTimeout(this.#flushStretched, this.#stretchMs);
    } else if (this.#waiting.push(reader) === 1) process.nextTick(this.#flushWaiting);
  }

  /** Adjusts the interval to a measurement of the load. */
  measured({ utilization, lagMs }: Load): void {
    this.#utilization += (utilization - this.#utilization) * WEIGHT;
    this.#lagMs += (lagMs - this.#lagMs) * WEIGHT;
    if (this.#utilization > MAX_UTILIZATION) {
      // A process that is busy but not late needs no interval that a user can see.
      const maxMs = this.#lagMs > FRAME_MS ? MAX_STRETCH_MS : FRAME_MS;
      this.#stretchMs = Math.min(maxMs, Math.max(MIN_STRETCH_MS, this.#stretchMs * STEP));
    } else {
      const shorter = this.#stretchMs / STEP;
      this.#stretchMs = shorter < MIN_STRETCH_MS ? 0 : shorter;
    }
  }

  #start(): void {
    this.#before = performance.eventLoopUtilization();
    this.#measuredAt = performance.now();
    this.#timer = setInterval(this.#onTimer, MEASURE_EVERY_MS).unref();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#utilization = 0;
    this.#lagMs = 0;
    this.#stretchMs = 0;
  }

  #measure(): Load {
    const utilization = performance.eventLoopUtilization();
    const now = performance.now();
    const load = {
      utilization: performance.eventLoopUtilization(utilization, this.#before).utilization,
      lagMs: Math.max(0, now - this.#measuredAt - MEASURE_EVERY_MS - 1),
    };
    this.#before = utilization;
    this.#measuredAt = now;
    return load;
  }
}

function flushAll(readers: readonly Flushable[]): void {
  for (const reader of readers) {
    reader.isScheduled = false;
    reader.flush();
  }
}
