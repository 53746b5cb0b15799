import type { ReaderChange, Stream } from '../stream.js';

interface Change {
  readonly sid: string;
  readonly readerId: string;
  /** Names the subscription; `*` stands for any. */
  readonly subscription: string;
  readonly change: ReaderChange | 'renew';
  readonly ms: number;
}

/** A connected reader is awaited for so long after the newest renewal. */
const CONNECTED_MS = 80_000;

/**
 * The subscriptions of the readers of this process. Redis keeps the newest subscription of each reader, and
 * until when the reader is awaited. A connection that is lost late changes nothing for a reader that has
 * subscribed elsewhere by then.
 */
export class Subscriptions {
  readonly #node: string;
  readonly #timeouts: { detachTimeoutMs: number; disconnectTimeoutMs: number };
  readonly #send: (args: (string | number)[]) => void;
  /** Names of subscriptions by stream and reader. */
  readonly #byStream = new Map<string, Map<string, string>>();
  readonly #anonymous = new WeakMap<symbol, string>();
  #changes: Change[] = [];
  #count = 0;

  constructor(
    node: string,
    timeouts: { detachTimeoutMs: number; disconnectTimeoutMs: number },
    send: (args: (string | number)[]) => void,
  ) {
    this.#node = node;
    this.#timeouts = timeouts;
    this.#send = send;
  }

  change(sid: string, reader: string | symbol, change: ReaderChange): void {
    const readerId = this.#nameOf(reader);
    const subscriptions = this.#byStream.get(sid) ?? new Map<string, string>();
    const { detachTimeoutMs, disconnectTimeoutMs } = this.#timeouts;
    if (change === 'reading') {
      const subscription = `${this.#node}.${++this.#count}`;
      this.#byStream.set(sid, subscriptions.set(readerId, subscription));
      return this.#add({ sid, readerId, subscription, change, ms: CONNECTED_MS });
    }
    const subscription = subscriptions.get(readerId) ?? '*';
    subscriptions.delete(readerId);
    if (subscriptions.size === 0) this.#byStream.delete(sid);
    const ms = change === 'lost' ? disconnectTimeoutMs : detachTimeoutMs;
    this.#add({ sid, readerId, subscription, change, ms });
  }

  /** Tells Redis again which readers are connected. */
  renew(): void {
    for (const [sid, subscriptions] of this.#byStream) {
      for (const [readerId, subscription] of subscriptions)
        this.#add({ sid, readerId, subscription, change: 'renew', ms: CONNECTED_MS });
    }
  }

  forget(stream: Stream, sid: string): void {
    if (!stream.hasReaders) this.#byStream.delete(sid);
  }

  #nameOf(reader: string | symbol): string {
    if (typeof reader === 'string') return `=${reader}`;
    const name = this.#anonymous.get(reader) ?? `~${this.#node}.${++this.#count}`;
    this.#anonymous.set(reader, name);
    return name;
  }

  #add(change: Change): void {
    if (this.#changes.push(change) > 1) return;
    setImmediate(() => {
      const changes = this.#changes;
      this.#changes = [];
      for (let i = 0; i < changes.length; i += 200) {
        const part = changes.slice(i, i + 200);
        this.#send(
          part.flatMap(({ sid, readerId, subscription, change: what, ms }) => [
            sid,
            readerId,
            subscription,
            what,
            ms,
          ]),
        );
      }
    });
  }
}
