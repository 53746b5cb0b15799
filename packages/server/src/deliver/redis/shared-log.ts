import type { Entry, ErrorEntry, NewsEntry, ResumedAnswer } from '../../entry.js';
import type { Generation } from '../generation.js';
import type { Log } from '../log.js';
import type { Stream } from '../stream.js';
import type { RedisLogWriter } from './log-writer.js';

/** A log that several processes read, and one writes. */
export class SharedLog {
  /** Names the log: the request id of the first stream. */
  readonly gid: string;
  readonly generation: Generation;
  /** The streams of this process that read it, by their keys in Redis. */
  readonly streams: Map<string, Stream> = new Map();
  /** The request as JSON, for the process that takes over. Empty if another process writes the log. */
  request = '';
  /** Counts its owners. Only the owner with the newest number can write. */
  fence = '0';
  /** Present while this process writes the log. */
  writer: RedisLogWriter | undefined;
  /** Ends that Redis has not taken, by the streams' keys. */
  readonly endsToSend: Map<string, ErrorEntry> = new Map();
  /** When something was last heard of it, by `performance.now()`. */
  heardAt: number = performance.now();
  /** The read that is under way. */
  catchingUp: Promise<boolean> | undefined;
  /** The attempt to put it back into Redis that is under way. */
  adopting: Promise<void> | undefined;
  /** Consecutive times that Redis did not know it. */
  misses = 0;

  constructor(gid: string, generation: Generation) {
    this.gid = gid;
    this.generation = generation;
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
}

/** @returns what the process that takes over needs of the log. */
export function resumedFrom(log: Log): ResumedAnswer {
  const rounds: { calls: CallEntry[]; results: ResultEntry[] }[] = [];
  let isCalling = false;
  for (let offset = 0; ;) {
    const frame = log.read(offset, Infinity);
    if (frame === undefined) break;
    offset += frame.size;
    const { entry } = frame;
    if (entry.type === 'tool_call') {
      if (!isCalling) rounds.push({ calls: [], results: [] });
      rounds.at(-1)?.calls.push(entry);
    } else if (entry.type === 'tool_result') rounds.at(-1)?.results.push(entry);
    isCalling = entry.type === 'tool_call';
  }
  return { attempt: log.start?.attempt ?? 0, rounds };
}

type CallEntry = Extract<Entry, { type: 'tool_call' }>;
type ResultEntry = Extract<Entry, { type: 'tool_result' }>;
