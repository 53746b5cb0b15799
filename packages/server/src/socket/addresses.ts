import type { Connection } from './connection.js';
import type { TokenBucket } from './token-bucket.js';

/** The counters and budgets of one address. */
export interface Address {
  readonly name: string;
  /** The number of connections that have not entered the namespace yet. */
  handshakes: number;
  /** The number of connections that have entered the namespace. */
  connections: number;
  /** The connections that have not requested the namespace yet, oldest first. */
  readonly idle: Set<Connection>;
  /**
   * The budget of idle connections that may be closed to admit new ones. Above it, refusing the new ones
   * costs less.
   */
  readonly evictions: TokenBucket;
  readonly messages: TokenBucket;
  readonly bytes: TokenBucket;
}

type Buckets = Pick<Address, 'evictions' | 'messages' | 'bytes'>;

interface Entry extends Address {
  /** The number of reservations and connections that use this entry. */
  holders: number;
  timer: NodeJS.Timeout | undefined;
}

/** The addresses with connections, and those whose budgets have not refilled yet. */
export class Addresses {
  readonly #entries = new Map<string, Entry>();
  readonly #createBuckets: () => Buckets;

  constructor(createBuckets: () => Buckets) {
    this.#createBuckets = createBuckets;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Keeps the address until `release()` was called as often as `hold()`. */
  hold(name: string): Address {
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      const counts = { handshakes: 0, connections: 0, idle: new Set<Connection>() };
      entry = { name, ...counts, ...this.#createBuckets(), holders: 0, timer: undefined };
      this.#entries.set(name, entry);
    }
    entry.holders += 1;
    return entry;
  }

  release({ name }: Address): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    entry.holders -= 1;
    if (entry.timer === undefined) this.#forget(entry);
  }

  /** Keeps the entry until its budgets have refilled, so that reconnecting does not reset them. */
  #forget(entry: Entry): void {
    entry.timer = undefined;
    if (entry.holders > 0) return;
    const waitMs = Math.max(entry.messages.msUntilFull(), entry.bytes.msUntilFull());
    if (waitMs === 0) this.#entries.delete(entry.name);
    else entry.timer = setTimeout(() => this.#forget(entry), Math.ceil(waitMs)).unref();
  }
}
