/**
 * A budget that refills evenly. rate-limiter-flexible returns promises, but a message needs a synchronous
 * result.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #capacity: number;
  #tokens: number;
  #refilledAt = performance.now();

  constructor(perSecond: number, capacity: number) {
    this.#perMs = perSecond / 1000;
    this.#capacity = capacity;
    this.#tokens = capacity;
  }

  /** Takes the tokens, or all that are left. @returns false if there were not enough. */
  take(tokens: number): boolean {
    this.#refill();
    const isEnough = tokens <= this.#tokens;
    this.#tokens = Math.max(0, this.#tokens - tokens);
    return isEnough;
  }

  /** Takes the tokens only if there are enough. @returns false if there are not. */
  tryTake(tokens: number): boolean {
    this.#refill();
    if (tokens > this.#tokens) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** @returns the used share of the capacity, from 0 to 1. */
  usedShare(): number {
    this.#refill();
    return 1 - this.#tokens / this.#capacity;
  }

  /** @returns the milliseconds until the bucket is full. */
  msUntilFull(): number {
    this.#refill();
    return (this.#capacity - this.#tokens) / this.#perMs;
  }

  #refill(): void {
    const now = performance.now();
    const refilled = this.#tokens + (now - this.#refilledAt) * this.#perMs;
    this.#tokens = Math.min(this.#capacity, refilled);
    this.#refilledAt = now;
  }
}
