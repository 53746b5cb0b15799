import { StreamError } from '@rivulet/protocol';
import type { QueueOptions } from './queue.js';

const FIRST_GUESS_MS = 10_000;
const RETRY_AFTER_MS = { least: 1_000, most: 60_000 };
/** The weight of the newest answer in the moving average. */
const NEWEST_WEIGHT = 0.2;

/** Creates the errors of requests that may not wait. The errors contain the time for a retry. */
export class QueueRefusals {
  readonly #options: QueueOptions;
  #averageMs = FIRST_GUESS_MS;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Records that a slot was used for `ms` milliseconds. */
  note(ms: number): void {
    this.#averageMs += NEWEST_WEIGHT * (ms - this.#averageMs);
  }

  full(): StreamError {
    return this.#refusal(`${this.#options.maxQueued} requests wait for it already`);
  }

  /** @param own the number of the principal's waiting requests. */
  tooMany(own: number): StreamError {
    return this.#refusal(
      `${own} requests from you or your network wait for it already; the other places are for others`,
    );
  }

  #refusal(reason: string): StreamError {
    const { name, concurrency } = this.#options;
    const { least, most } = RETRY_AFTER_MS;
    return new StreamError('overloaded', `unable to get an answer from ${name}: ${reason}`, {
      // One slot should be free by then.
      retryAfterMs: Math.round(Math.min(most, Math.max(least, this.#averageMs / concurrency))),
    });
  }
}
