import { EVENT, type StreamChangedMessage, type StreamSummary } from '@rivulet/protocol';
import type { Flushable } from '../deliver/flush-scheduler.js';
import type { ListedStream } from '../deliver/stream.js';
import type { StreamDirectory } from '../deliver/stream-directory.js';
import { envelopeOf } from './encode.js';
import type { Outbox } from './outbox.js';

/**
 * Notifies a connection of changes to its principal's streams. While the transport is busy, only the newest
 * change of each stream is kept, so the rate limit of new streams bounds the memory.
 */
export class StreamWatch implements Flushable {
  readonly isFresh = false;
  isScheduled = false;
  readonly #outbox: Outbox;
  readonly #unwatch: () => void;
  readonly #changed = new Map<string, StreamSummary>();
  /** The last sent status of each stream that has not ended. */
  readonly #sentStatuses = new Map<string, StreamSummary['status']>();

  constructor(streams: StreamDirectory, principal: string, outbox: Outbox) {
    this.#outbox = outbox;
    this.#unwatch = streams.watch(principal, (stream) => this.#onChange(stream));
  }

  /** Called before the client receives `streams`, the list of all running streams. */
  setListed(streams: readonly ListedStream[]): void {
    for (const { id, status } of streams) this.#sentStatuses.set(id, status);
  }

  flush(): void {
    for (const [id, stream] of this.#changed) {
      if (!this.#outbox.writable(this)) return;
      this.#changed.delete(id);
      const message: StreamChangedMessage = { type: EVENT.changed, stream };
      this.#outbox.emit(EVENT.changed, message);
    }
  }

  close(): void {
    this.#unwatch();
    this.#outbox.forget(this);
    this.#changed.clear();
  }

  #onChange(stream: ListedStream): void {
    const { id, status } = stream;
    if (this.#sentStatuses.get(id) === status) return;
    if (status === 'ended') this.#sentStatuses.delete(id);
    else this.#sentStatuses.set(id, status);
    this.#changed.set(id, summaryOf(stream));
    // Sent after the messages that the change itself causes, such as the reply to a start.
    if (this.#changed.size === 1) process.nextTick(() => this.flush());
  }
}

export function summaryOf(stream: ListedStream): StreamSummary {
  const { query, status, offset, code } = stream;
  return {
    ...envelopeOf(stream),
    query,
    status,
    offset,
    ...(code !== undefined && { code }),
  };
}
