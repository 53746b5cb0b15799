import type { ErrorCode, StreamStatus } from '@rivulet/protocol';
import { hash } from '../../redis/hash.js';
import type { ListedStream } from '../stream.js';
import { listedOf, type StreamRecord } from './records.js';
import type { RedisStore } from './store.js';

type Listener = (stream: ListedStream) => void;

interface Watched {
  readonly listeners: Set<Listener>;
  /** Resolves once messages are delivered. */
  readonly ready: Promise<void>;
}

/** Those that watch the streams of a principal. Redis publishes what changes. */
export class Watchers {
  readonly #store: RedisStore;
  readonly #watched = new Map<string, Watched>();

  constructor(store: RedisStore) {
    this.#store = store;
  }

  /** @returns a function that ends this. */
  add(principal: string, listener: Listener): () => void {
    const watched = this.#watched.get(principal) ?? this.#subscribe(principal);
    // The same function may be given twice.
    const own: Listener = (stream) => listener(stream);
    watched.listeners.add(own);
    return () => {
      watched.listeners.delete(own);
      if (watched.listeners.size > 0 || this.#watched.get(principal) !== watched) return;
      this.#watched.delete(principal);
      this.#store.unsubscribe(channelOf(principal)).catch(() => {});
    };
  }

  /** Resolves once no change of the principal's streams can be missed. */
  async ready(principal: string): Promise<void> {
    await this.#watched.get(principal)?.ready;
  }

  #subscribe(principal: string): Watched {
    const listeners = new Set<Listener>();
    const ready = this.#store
      .subscribe(channelOf(principal), (json) => {
        const { status, offset, code, record } = JSON.parse(json) as {
          status: StreamStatus;
          offset: number;
          code: ErrorCode | '';
          record: StreamRecord;
        };
        for (const listener of listeners) listener(listedOf(record, status, offset, code));
      })
      .catch(() => {});
    const watched = { listeners, ready };
    this.#watched.set(principal, watched);
    return watched;
  }
}

function channelOf(principal: string): string {
  return `pc:${hash(principal)}`;
}
