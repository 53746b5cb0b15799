import type { Entry, ErrorEntry, NewsEntry } from '../../entry.js';
import type { Generation } from '../generation.js';
import type { Stream } from '../stream.js';
import type { StreamRegistry } from '../stream-registry.js';
import type { RedisLogWriter } from './log-writer.js';
import { identityOf, type StreamRecord } from './records.js';

export const STREAM_LOST: ErrorEntry = {
  type: 'error',
  code: 'interrupted',
  message: 'unable to finish the answer: the server that generated it went away; ask again',
};

/** A log that several processes read, and one writes. */
export class SharedLog {
  /** Names the log: the request id of the first stream. */
  readonly gid: string;
  readonly generation: Generation;
  /** The streams of this process that read it, by their keys in Redis. */
  readonly streams: Map<string, Stream> = new Map();
  /** The request as JSON, for the process that takes over. Empty if another process writes the log. */
  request = '';
  /** Counts its owners. Only the owner with the newest number can write. `0` if this process never was one. */
  fence = '0';
  /** Present while this process writes the log. */
  writer: RedisLogWriter | undefined;
  /** Keys of the streams whose readers have all said that they left, if this process owns the log. */
  readonly detached: Set<string> = new Set();
  /** Ends that Redis has not taken, by the streams' keys. */
  readonly endsToSend: Map<string, ErrorEntry> = new Map();
  /** When something was last heard of it, by `performance.now()`. */
  heardAt: number = performance.now();
  /** The read that is under way. */
  catchingUp: Promise<boolean> | undefined;
  /** The attempt to put it back into Redis that is under way. */
  adopting: Promise<void> | undefined;
  /** True if Redis knows that the generation is paused; undefined if that is uncertain. */
  sentPaused: boolean | undefined = false;
  /** Consecutive times that Redis did not know it. */
  misses = 0;

  constructor(gid: string, generation: Generation) {
    this.gid = gid;
    this.generation = generation;
  }

  /** True if another process writes it, or is to. */
  get isMirror(): boolean {
    return this.request === '';
  }

  /** True if this process writes it. */
  get isOwn(): boolean {
    return this.writer?.isCurrent === true;
  }

  /**
   * Adds entries that begin at `at`, as far as they are new. An attempt that is newer than what this process
   * has replaces it.
   *
   * @returns false if something before them is missing.
   */
  add(at: number, entries: readonly Entry[]): boolean {
    this.heardAt = performance.now();
    const { generation } = this;
    let offset = at;
    for (const entry of entries) {
      const { head, start } = generation.log;
      const size = entry.type === 'text' ? entry.text.length : 1;
      if (offset > head) return false;
      if (offset < head && entry.type === 'start' && entry.attempt > (start?.attempt ?? 0)) {
        generation.rewind(offset);
      }
      const missing = offset + size - generation.log.head;
      if (missing > 0) {
        const isPart = entry.type === 'text' && missing < size;
        generation.write(isPart ? { type: 'text', text: entry.text.slice(size - missing) } : entry);
      }
      offset += size;
    }
    return true;
  }

  setNews(news: NewsEntry): void {
    this.heardAt = performance.now();
    if (!this.generation.log.done) this.generation.setNews(news);
  }

  /** This process writes the log no more. */
  endWriter(): void {
    const { writer } = this;
    this.writer = undefined;
    writer?.end();
  }
}

/** The logs of the streams of this process. */
export class SharedLogs implements Iterable<SharedLog> {
  readonly #registry: StreamRegistry;
  readonly #byGid = new Map<string, SharedLog>();
  readonly #byGeneration = new WeakMap<Generation, SharedLog>();

  constructor(registry: StreamRegistry) {
    this.#registry = registry;
  }

  [Symbol.iterator](): Iterator<SharedLog> {
    return this.#byGid.values();
  }

  add(gid: string, generation: Generation): SharedLog {
    const log = new SharedLog(gid, generation);
    this.#byGid.set(gid, log);
    this.#byGeneration.set(generation, log);
    return log;
  }

  get(gid: string): SharedLog | undefined {
    return this.#byGid.get(gid);
  }

  of(generation: Generation): SharedLog | undefined {
    return this.#byGeneration.get(generation);
  }

  /** @returns undefined if the stream was dropped. */
  ofStream(stream: Stream): SharedLog | undefined {
    const owned = this.#registry.find(stream.principal, stream.id);
    return owned?.stream === stream ? this.of(owned.generation) : undefined;
  }

  /** Logs that this process writes. */
  own(): SharedLog[] {
    return [...this].filter((log) => log.isOwn);
  }

  /** The stream shares the log `to` from now on. @returns that log. */
  move(sid: string, from: SharedLog, to: string): SharedLog {
    const registry = this.#registry;
    const log = this.get(to) ?? this.add(to, registry.createGeneration(undefined, 0, to));
    const stream = from.streams.get(sid);
    from.streams.delete(sid);
    if (from.streams.size === 0) this.delete(from);
    if (stream !== undefined) log.streams.set(sid, stream);
    return log;
  }

  delete(log: SharedLog): void {
    this.#byGid.delete(log.gid);
  }

  /** Adds a stream that reads the log `gid`. @returns the one that is there, if there is one. */
  join(sid: string, gid: string, record: StreamRecord, fingerprint: string): Stream {
    const registry = this.#registry;
    const known = registry.find(record.principal, record.id);
    if (known !== undefined) return known.stream;
    const log = this.get(gid) ?? this.add(gid, registry.createGeneration(undefined, 0, gid));
    const { requestId, epoch } = record;
    const names = { requestId, answerId: gid, epoch };
    const { stream } = registry.join(log.generation, identityOf(record), names, fingerprint);
    log.streams.set(sid, stream);
    if (log.generation.log.done) registry.finish(stream);
    return stream;
  }
}
