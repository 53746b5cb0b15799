import type { Entry, ErrorEntry, NewsEntry } from '../../entry.js';
import type { RedisContext } from './context.js';
import { unitsOf } from './log-writer.js';
import type { LogMessage } from './records.js';
import { type SharedLog, STREAM_LOST } from './shared-log.js';
import type { StreamEnds } from './stream-ends.js';

const PAGE_BYTES = 262_144;
/** A log of another process that was silent for so long is looked up. */
const SILENT_MS = 2_000;
/** A log that Redis does not know is given up after so many looks. */
const MAX_MISSES = 4;
/** Logs that one command looks up. */
export const MAX_HEADS = 100;

/** Reads the logs that other processes write. */
export class Follower {
  readonly #context: RedisContext;
  readonly #ends: StreamEnds;

  constructor(context: RedisContext, ends: StreamEnds) {
    this.#context = context;
    this.#ends = ends;
  }

  /** Reads what is missing of a log that another process writes. @returns false if Redis does not have it. */
  catchUp(log: SharedLog): Promise<boolean> {
    log.catchingUp ??= this.#readMissing(log).finally(() => {
      log.catchingUp = undefined;
    });
    return log.catchingUp;
  }

  receive(log: SharedLog, message: Exclude<LogMessage, ['reply', ...unknown[]]>): void {
    switch (message[0]) {
      case 'append': {
        if (log.isOwn) return;
        const [, , at, , entries] = message;
        if (!log.add(at, entries)) void this.catchUp(log);
        return this.#finishIfDone(log);
      }
      case 'join': {
        const [, gid, sid, fingerprint, record] = message;
        this.#context.logs.join(sid, gid, record, fingerprint);
        return;
      }
      case 'end': {
        const [, , sid, head, entry] = message;
        if (log.isOwn || log.generation.log.head >= head)
          return this.#ends.endHere(log, sid, head, entry);
        void this.catchUp(log).then(() => this.#ends.endHere(log, sid, head, entry));
        return;
      }
      case 'move': {
        const [, , sid, to] = message;
        const stream = log.streams.get(sid);
        const owned = stream && this.#context.registry.find(stream.principal, stream.id);
        if (log.isOwn || owned === undefined) return;
        const shared = this.#context.logs.move(sid, log, to);
        this.#context.registry.move(owned, shared.generation);
        void this.catchUp(shared);
        return;
      }
      case 'detached': {
        const [, , sid, isDetached] = message;
        if (isDetached) log.detached.add(sid);
        else log.detached.delete(sid);
        return log.generation.updatePreemption();
      }
      case 'stop':
        return this.#ends.stop(log, message[2]);
      case 'news':
        if (!log.isOwn) log.setNews(message[2]);
    }
  }

  /** Looks at the logs of other processes that were silent: a message may be lost. */
  async checkSilent(): Promise<void> {
    const { logs, store } = this.#context;
    const before = performance.now() - SILENT_MS;
    const silent = [...logs].filter(
      ({ isOwn, generation, heardAt }) => !isOwn && !generation.log.done && heardAt < before,
    );
    for (let i = 0; i < silent.length; i += MAX_HEADS) {
      const part = silent.slice(i, i + MAX_HEADS);
      const gids = part.map(({ gid }) => gid);
      const reply = await store.tryRead('heads', gids);
      if (!Array.isArray(reply)) return;
      for (const [j, log] of part.entries()) {
        const [head = '-1', , done, , attempt] = reply[j] as string[];
        log.heardAt = performance.now();
        if (head === '-1') log.misses += 1;
        if (log.misses >= MAX_MISSES) this.#lose(log);
        if (head === '-1') continue;
        const { log: known } = log.generation;
        const isNewer = Number(head) > known.head || Number(attempt) > (known.start?.attempt ?? 0);
        if (!isNewer && done !== '1') continue;
        const isRead = await this.catchUp(log);
        if (isRead && done === '1' && !log.isOwn && !log.generation.log.done) this.#lose(log);
      }
      await this.checkEnds(part);
    }
  }

  /** Looks for streams that were ended elsewhere: a message may be lost. */
  async checkEnds(logs: Iterable<SharedLog>): Promise<void> {
    const running = [...logs].flatMap((log) =>
      [...log.streams].flatMap(([sid, stream]) => (stream.log.done ? [] : [{ log, sid }])),
    );
    for (let i = 0; i < running.length; i += MAX_HEADS) {
      const part = running.slice(i, i + MAX_HEADS);
      const sids = part.map(({ sid }) => sid);
      const reply = await this.#context.store.tryRead('ends', sids);
      if (!Array.isArray(reply)) return;
      for (const [j, { log, sid }] of part.entries()) {
        const [at = '', entry = ''] = reply[j] as string[];
        if (at === '') continue;
        this.receive(log, ['end', log.gid, sid, Number(at), JSON.parse(entry) as ErrorEntry]);
      }
    }
  }

  async #readMissing(log: SharedLog): Promise<boolean> {
    const { store, node } = this.#context;
    let from = log.generation.log.head;
    let isWhole = from === 0;
    for (;;) {
      const reply = await store.tryRead('follow', [log.gid, node, from, PAGE_BYTES]);
      if (!Array.isArray(reply) || reply.length === 0) return false;
      log.misses = 0;
      type Page = [string, string, string, string, string, string, [string, string][]];
      const [headText, , , , attempt, news, pages] = reply as Page;
      const head = Number(headText);
      const { log: known } = log.generation;
      // A newer attempt may begin before what this process has.
      if (!isWhole && (head < from || Number(attempt) > (known.start?.attempt ?? 0))) {
        from = 0;
        isWhole = true;
        continue;
      }
      if (news !== '') log.setNews(JSON.parse(news) as NewsEntry);
      const before = from;
      for (const [at, blob] of pages) {
        const entries = JSON.parse(blob) as Entry[];
        log.add(Number(at), entries);
        from = Number(at) + unitsOf(entries);
      }
      if (log.isOwn) return true;
      this.#finishIfDone(log);
      if (from >= head) return true;
      // Redis has lost a part of it.
      if (from <= before) return false;
    }
  }

  #finishIfDone(log: SharedLog): void {
    if (!log.isOwn && log.generation.log.done) this.#context.registry.finishAll(log.generation);
  }

  /** The rest of a log cannot be read any more. */
  #lose(log: SharedLog): void {
    for (const stream of log.streams.values()) this.#context.registry.end(stream, STREAM_LOST);
  }
}
