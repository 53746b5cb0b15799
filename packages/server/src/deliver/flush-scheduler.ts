import { performance } from 'node:perf_hooks';

/** An object that sends its pending data when `flush` is called. */
export interface Flushable {
  /** True until it has sent text. The first text is not delayed, because a user waits for it. */
  readonly isFresh: boolean;
  /** Set by the scheduler: true while a flush is scheduled. */
  isScheduled: boolean;
  flush(): void;
}

/** The load of the process since the previous measurement. */
export interface Load {
  /** The share of the time in which the event loop was busy, from 0 to 1. */
  utilization: number;
  /** The delay of a timer after its scheduled time, in milliseconds. */
  lagMs: number;
}

const MEASURE_EVERY_MS = 50;
/** Above this utilization, the process is overloaded. */
const MAX_UTILIZATION = 0.9;
/** The time of one frame on a screen, in milliseconds. */
const FRAME_MS = 16;
/** The weight of the newest measurement in the moving average. */
const WEIGHT = 0.3;
const MIN_INTERVAL_MS = 8;
const MAX_INTERVAL_MS = 160;
/** The interval grows or shrinks by this factor with each measurement. */
const STEP = 1.5;

/**
 * Schedules the flushes of readers. A provider often yields several tokens in one turn of the event loop.
 * `nextTick` runs after all of them, so they leave in one message, without the delay of a timer. Each write
 * has a fixed cost, so an overloaded process writes less often, and each reader receives one larger message.
 * The interval grows while the process is overloaded, and shrinks to zero while it is not.
 */
export class FlushScheduler {
  #scheduled: Flushable[] = [];
  #delayed: Flushable[] = [];
  #intervalMs = 0;
  #utilization = 0;
  #lagMs = 0;
  #isActive = false;
  #timer: NodeJS.Timeout | undefined;
  #measuredAt = 0;
  #previousUtilization = performance.eventLoopUtilization();
  readonly #flushScheduled = (): void => {
    const readers = this.#scheduled;
    this.#scheduled = [];
    flushAll(readers);
  };
  readonly #flushDelayed = (): void => {
    const readers = this.#delayed;
    this.#delayed = [];
    flushAll(readers);
  };
  readonly #onTimer = (): void => {
    // The timer stops while no stream sends, so that an idle process does no work.
    if (!this.#isActive) this.#stop();
    else this.adjust(this.#measure());
    this.#isActive = false;
  };

  /**
   * Schedules a flush of `reader` at the end of this turn of the event loop, or later if the process is
   * overloaded.
   */
  schedule(reader: Flushable): void {
    if (reader.isScheduled) return;
    reader.isScheduled = true;
    this.#isActive = true;
    if (this.#timer === undefined) this.#start();
    if (this.#intervalMs > 0 && !reader.isFresh) {
      if (this.#delayed.push(reader) === 1) setTimeout(this.#flushDelayed, this.#intervalMs);
    } else if (this.#scheduled.push(reader) === 1) process.nextTick(this.#flushScheduled);
  }

  /** Adjusts the interval to a measurement of the load. */
  adjust({ utilization, lagMs }: Load): void {
    this.#utilization += (utilization - this.#utilization) * WEIGHT;
    this.#lagMs += (lagMs - this.#lagMs) * WEIGHT;
    if (this.#utilization > MAX_UTILIZATION) {
      // If the process is busy but on time, the interval stays shorter than a user can notice.
      const maxMs = this.#lagMs > FRAME_MS ? MAX_INTERVAL_MS : FRAME_MS;
      this.#intervalMs = Math.min(maxMs, Math.max(MIN_INTERVAL_MS, this.#intervalMs * STEP));
    } else {
      const shorter = this.#intervalMs / STEP;
      this.#intervalMs = shorter < MIN_INTERVAL_MS ? 0 : shorter;
    }
  }

  #start(): void {
    this.#previousUtilization = performance.eventLoopUtilization();
    this.#measuredAt = performance.now();
    this.#timer = setInterval(this.#onTimer, MEASURE_EVERY_MS).unref();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#utilization = 0;
    this.#lagMs = 0;
    this.#intervalMs = 0;
  }

  #measure(): Load {
    const utilization = performance.eventLoopUtilization();
    const now = performance.now();
    const load = {
      utilization: performance.eventLoopUtilization(utilization, this.#previousUtilization)
        .utilization,
      lagMs: Math.max(0, now - this.#measuredAt - MEASURE_EVERY_MS - 1),
    };
    this.#previousUtilization = utilization;
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
