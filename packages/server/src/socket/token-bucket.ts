/** A budget that refills evenly. rate-limiter-flexible answers with promises; each message needs an answer at once. */
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

  /** @returns false if there are not enough tokens; they are taken all the same, down to none. */
  take(tokens: number): boolean {
    this.#refill();
    const isEnough = tokens <= this.#tokens;
    this.#tokens = Math.max(0, this.#tokens - tokens);
    return isEnough;
  }

  /** @returns false if there are not enough tokens; none are taken then. */
  tryTake(tokens: number): boolean {
    this.#refill();
    if (tokens > this.#tokens) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** @returns the share of the capacity that is used, from 0 to 1. */
  usedShare(): number {
    this.#refill();
    return 1 - this.#tokens / this.#capacity;
  }

  /** @returns how long it takes until no tokens are missing. */
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
