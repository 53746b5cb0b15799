import { StreamError } from '@rivulet/protocol';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { overloaded, rateLimited } from './errors.js';

const MAX_RUNNING = 512;
const MAX_RUNNING_PER_ADDRESS = 32;
/** The limit of failures per address. Many connections of one network may reconnect with expired tokens. */
const FAILURES = { points: 300, duration: 60 };

interface Queue {
  running: number;
  /** Callbacks of waiting checks. The argument is true if the check may run. */
  readonly waiting: Set<(mayRun: boolean) => void>;
}

/** Limits the concurrent checks of credentials, and the failed ones. */
export class Authentications {
  readonly #queues = new Map<string, Queue>();
  readonly #failures = new RateLimiterMemory(FAILURES);
  readonly #maxWaiting: number;
  #running = 0;

  /** @param maxWaiting the limit of waiting checks per address. */
  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting;
  }

  /** The number of addresses with checks. */
  get size(): number {
    return this.#queues.size;
  }

  /**
   * Runs a check as soon as the limits allow it. `left` aborts when the connection has closed.
   *
   * @throws {StreamError} rate_limited, overloaded.
   * @throws the error of the check.
   */
  async run<T>(address: string, left: AbortSignal, check: () => Promise<T>): Promise<T> {
    const failed = await this.#failures.get(address);
    if (failed !== null && failed.consumedPoints >= FAILURES.points) {
      throw rateLimited('too many tokens were refused', failed.msBeforeNext);
    }
    await this.#acquire(address, left);
    try {
      return await check();
    } catch (cause) {
      const isRefused = cause instanceof StreamError && cause.code === 'unauthorized';
      if (isRefused) await this.#failures.penalty(address);
      throw cause;
    } finally {
      this.#release(address);
    }
  }

  async #acquire(address: string, left: AbortSignal): Promise<void> {
    const queue = this.#queues.get(address) ?? { running: 0, waiting: new Set() };
    const isFull = queue.running >= MAX_RUNNING_PER_ADDRESS;
    if (left.aborted) throw overloaded('the connection has ended');
    if (this.#running >= MAX_RUNNING || (isFull && queue.waiting.size >= this.#maxWaiting)) {
      throw overloaded('too many tokens are being checked');
    }
    this.#queues.set(address, queue);
    if (!isFull) {
      queue.running += 1;
      this.#running += 1;
      return;
    }
    const mayRun = await new Promise<boolean>((resolve) => {
      queue.waiting.add(resolve);
      left.addEventListener('abort', () => queue.waiting.delete(resolve) && resolve(false));
    });
    if (!mayRun) throw overloaded('the connection has ended');
  }

  #release(address: string): void {
    const queue = this.#queues.get(address);
    if (queue === undefined) return;
    for (const next of queue.waiting) {
      queue.waiting.delete(next);
      return next(true);
    }
    queue.running -= 1;
    this.#running -= 1;
    if (queue.running === 0) this.#queues.delete(address);
  }
}
