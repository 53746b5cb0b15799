import { EVENT, type StreamChangedMessage, type StreamSummary } from '@rivulet/protocol';
import type { Flushable } from '../deliver/pace.js';
import type { Stream } from '../deliver/stream.js';
import type { StreamRegistry } from '../deliver/stream-registry.js';
import { envelopeOf } from './encode.js';
import type { Outbox } from './outbox.js';

/**
 * Tells a connection of changes to its principal's streams. Of each stream only the newest change waits
 * while the transport takes nothing, so that the rate limit of new streams bounds what waits.
 */
export class StreamWatch implements Flushable {
  readonly isFresh = false;
  isScheduled = false;
  readonly #outbox: Outbox;
  readonly #unwatch: () => void;
  readonly #changed = new Map<string, StreamSummary>();
  /** What was told last of the streams that have not ended. */
  readonly #told = new Map<string, StreamSummary['status']>();

  constructor(streams: StreamRegistry, principal: string, outbox: Outbox) {
    this.#outbox = outbox;
    for (const { id, status } of streams.running(principal)) this.#told.set(id, status);
    this.#unwatch = streams.watch(principal, (stream) => this.#note(stream));
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

  #note(stream: Stream): void {
    const { id, status } = stream;
    if (this.#told.get(id) === status) return;
    if (status === 'ended') this.#told.delete(id);
    else this.#told.set(id, status);
    this.#changed.set(id, summaryOf(stream));
    // After what the change itself has sent, such as the reply to a start.
    if (this.#changed.size === 1) process.nextTick(() => this.flush());
  }
}

export function summaryOf(stream: Stream): StreamSummary {
  const { query, status, log } = stream;
  const last = log.done ? log.read(log.head - 1, 1)?.entry : undefined;
  return {
    ...envelopeOf(stream),
    query,
    status,
    offset: log.head,
    ...(last?.type === 'error' && { code: last.code }),
  };
}
