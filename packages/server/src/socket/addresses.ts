import type { Connection } from './connection.js';
import type { TokenBucket } from './token-bucket.js';

/** The counts and budgets of one address. */
export interface Address {
  readonly name: string;
  /** Connections that have not been admitted to the namespace yet. */
  handshakes: number;
  /** Connections that have. */
  connections: number;
  /** Connections that have not asked for the namespace yet, the oldest first. */
  readonly idle: Set<Connection>;
  /** Idle connections that may be closed for new ones; beyond it, refusing the new ones costs less. */
  readonly evictions: TokenBucket;
  readonly messages: TokenBucket;
  readonly bytes: TokenBucket;
}

type Buckets = Pick<Address, 'evictions' | 'messages' | 'bytes'>;

interface Entry extends Address {
  /** Reservations and connections that use this entry. */
  holders: number;
  timer: NodeJS.Timeout | undefined;
}

/** The addresses that have connections, or had some and have not got their whole budget back. */
export class Addresses {
  readonly #entries = new Map<string, Entry>();
  readonly #createBuckets: () => Buckets;

  constructor(createBuckets: () => Buckets) {
    this.#createBuckets = createBuckets;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Keeps the address until as many calls of `release()`. */
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

  /** A client that reconnects does not get a new budget. */
  #forget(entry: Entry): void {
    entry.timer = undefined;
    if (entry.holders > 0) return;
    const waitMs = Math.max(entry.messages.msUntilFull(), entry.bytes.msUntilFull());
    if (waitMs === 0) this.#entries.delete(entry.name);
    else entry.timer = setTimeout(() => this.#forget(entry), Math.ceil(waitMs)).unref();
  }
}
