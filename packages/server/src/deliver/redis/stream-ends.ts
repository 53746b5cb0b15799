import type { ErrorEntry } from '../../entry.js';
import type { Stream } from '../stream.js';
import { CANCELLED } from '../stream-registry.js';
import type { RedisContext } from './context.js';
import { endArgs, sidOf } from './records.js';
import type { SharedLog } from './shared-log.js';

/** Ends of streams before the end of their log: those of this process for Redis, and those of Redis here. */
export class StreamEnds {
  readonly #context: RedisContext;
  /** Streams that are being ended here because they were ended in Redis. */
  readonly #endedElsewhere = new Set<string>();

  constructor(context: RedisContext) {
    this.#context = context;
  }

  /** Cancels a stream for all processes. */
  async cancel(stream: Stream): Promise<void> {
    const { registry, store, limits, logs } = this.#context;
    const log = logs.ofStream(stream);
    if (log === undefined || !store.isUp || stream.log.done) return registry.cancel(stream);
    const sid = sidOf(stream.principal, stream.id);
    const reply = await store.tryWrite('cancel', [sid, ...endArgs(CANCELLED, limits)]);
    if (!Array.isArray(reply)) return registry.cancel(stream);
    const [result, head] = reply;
    if (result === 'ended') this.endHere(log, sid, Number(head), CANCELLED);
    else if (result === 'gone') registry.cancel(stream);
  }

  /**
   * Ends a stream of this process that was ended in Redis, where the log had the head `head`. A reader may have been
   * sent more by then. It gets the end after that, since it would drop an end below what it has.
   */
  endHere(log: SharedLog, sid: string, head: number, entry: ErrorEntry): void {
    const stream = log.streams.get(sid);
    if (stream === undefined || stream.log.done) return;
    this.#endedElsewhere.add(sid);
    this.#context.registry.end(stream, entry, Math.max(head, stream.sent));
    this.#endedElsewhere.delete(sid);
  }

  /** The last stream of a log was ended in Redis: its generation ends. */
  stop(log: SharedLog, entry: ErrorEntry): void {
    const { generation } = log;
    log.endWriter();
    generation.abort(entry);
    for (const sid of log.streams.keys()) this.endHere(log, sid, generation.log.head, entry);
    this.#context.registry.finishAll(generation);
    this.release(log);
  }

  /** A stream was ended here. Redis is told if it ends for all processes, now or once it can be reached. */
  note(stream: Stream, entry: ErrorEntry): void {
    const { store, logs } = this.#context;
    const log = logs.ofStream(stream);
    const sid = sidOf(stream.principal, stream.id);
    if (log === undefined || this.#endedElsewhere.has(sid)) return;
    // A process that lacks memory, or shuts down, does not end what another one generates.
    if (log.isMirror && entry.code !== 'cancelled') return;
    log.endsToSend.set(sid, entry);
    if (store.isUp) void this.send(log);
  }

  /** Tells Redis of the ends that it does not have. */
  async send(log: SharedLog): Promise<void> {
    const { store, limits } = this.#context;
    for (const [sid, entry] of log.endsToSend) {
      const reply = await store.tryWrite('cancel', [sid, ...endArgs(entry, limits)]);
      if (!Array.isArray(reply)) return;
      log.endsToSend.delete(sid);
      const [result] = reply;
      const isRead = [...log.streams.values()].some((stream) => !stream.log.done);
      // Redis has lost the stream, so that no message stops the generation.
      if (result === 'gone' && log.isOwn && !isRead) this.stop(log, entry);
    }
    this.release(log);
  }

  /** Removes a log that has no stream in this process, unless it is being generated or Redis lacks an end of it. */
  release(log: SharedLog): void {
    const { logs, store, node } = this.#context;
    const { generation } = log;
    const isGenerating = log.isOwn && !generation.log.done && !generation.signal.aborted;
    // A log that began without Redis has nothing there that could end.
    const lacksEnd = log.fence !== '0' && log.endsToSend.size > 0;
    if (log.streams.size > 0 || isGenerating || lacksEnd || logs.get(log.gid) !== log) return;
    log.endWriter();
    logs.delete(log);
    if (store.isUp && !generation.log.done) void store.tryWrite('unfollow', [log.gid, node]);
  }

  /**
   * No reader of this process is left for the stream. It ends if other processes have none either. Only Redis knows
   * that, and also ends the stream later, if it is away now.
   */
  abandon(stream: Stream): void {
    const { registry, store, limits, logs } = this.#context;
    const log = logs.ofStream(stream);
    if (log?.isMirror === true) return registry.drop(stream);
    if (log === undefined || log.fence === '0') return registry.cancel(stream);
    const sid = sidOf(stream.principal, stream.id);
    if (store.isUp) void store.tryWrite('reap', [sid, ...endArgs(CANCELLED, limits)]);
  }
}
