import type { ReaderChange, Stream } from '../stream.js';

interface Change {
  readonly sid: string;
  readonly readerId: string;
  readonly seat: string;
  readonly change: ReaderChange | 'renew';
  readonly ms: number;
}

/** How long a stream is waited for whose reader is connected, beyond the newest renewal. */
const CONNECTED_MS = 80_000;

/**
 * The readers of this process. Redis knows of each reader on which connection it is, its seat, and until when
 * it is waited for. A connection that is lost late changes nothing for a reader that is elsewhere by then.
 */
export class ReaderSeats {
  readonly #node: string;
  readonly #timeouts: { detachTimeoutMs: number; disconnectTimeoutMs: number };
  readonly #send: (args: (string | number)[]) => void;
  readonly #seats = new Map<string, Map<string, string>>();
  readonly #anonymous = new Map<symbol, string>();
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
    const seats = this.#seats.get(sid) ?? new Map<string, string>();
    const { detachTimeoutMs, disconnectTimeoutMs } = this.#timeouts;
    if (change === 'reading') {
      const seat = `${this.#node}.${++this.#count}`;
      this.#seats.set(sid, seats.set(readerId, seat));
      return this.#add({ sid, readerId, seat, change, ms: CONNECTED_MS });
    }
    const seat = seats.get(readerId) ?? '*';
    seats.delete(readerId);
    if (seats.size === 0) this.#seats.delete(sid);
    if (typeof reader === 'symbol') this.#anonymous.delete(reader);
    const ms = change === 'lost' ? disconnectTimeoutMs : detachTimeoutMs;
    this.#add({ sid, readerId, seat, change, ms });
  }

  /** Says again of each reader that it is connected. */
  renew(): void {
    for (const [sid, seats] of this.#seats) {
      for (const [readerId, seat] of seats)
        this.#add({ sid, readerId, seat, change: 'renew', ms: CONNECTED_MS });
    }
  }

  forget(stream: Stream, sid: string): void {
    if (!stream.hasReaders) this.#seats.delete(sid);
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
          part.flatMap(({ sid, readerId, seat, change: what, ms }) => [
            sid,
            readerId,
            seat,
            what,
            ms,
          ]),
        );
      }
    });
  }
}
