import { type Entry, isTerminal } from '../../entry.js';
import { isFull } from '../../redis/connection/connection.js';
import type { Reply } from '../../redis/connection/link.js';
import type { AppendResult, Batch, RedisLogWriter } from './log-writer.js';
import type { RedisStore } from './store.js';

/** The writer of a log, as far as the appender uses it. */
export interface AppendTarget {
  readonly gid: string;
  readonly fence: string;
  readonly writer: RedisLogWriter;
}

export interface AppenderListener {
  /** The log is not to be written by this process as it is. */
  onRefused(target: AppendTarget, result: AppendResult): void;
  /** An append was answered after `ms`. */
  onRoundTrip(ms: number): void;
}

export interface AppenderOptions {
  /** The time to live of a running log, and of a finished one. */
  liveMs: number;
  retentionMs: number;
}

const MAX_CALLS = 2;
const MAX_TARGETS = 64;
const MAX_CALL_UNITS = 262_144;
/** A command has a high fixed cost, so at most one is sent in this time. */
const INTERVAL_MS = 5;
/** Beyond it, appends are made less often, and each has more text. */
const SLOW_MS = 5;
const MAX_STRETCH_MS = 160;
const WEIGHT = 0.2;
const RETRY_MS = 200;

/**
 * Sends what writers have. A command has the text of many writers: all that comes within a few milliseconds of
 * the command before, or while two commands are under way. Text after a pause is sent at once. A writer has one
 * batch under way; what comes meanwhile goes into its next one.
 */
export class Appender {
  readonly #store: RedisStore;
  readonly #options: AppenderOptions;
  readonly #targetOf: (writer: RedisLogWriter) => AppendTarget | undefined;
  readonly #listener: AppenderListener;
  readonly #waiting = new Set<RedisLogWriter>();
  /** Writers whose batch was not answered. */
  readonly #unanswered = new Set<RedisLogWriter>();
  #isScheduled = false;
  /** Commands without a reply. */
  #calls = 0;
  #roundTripMs = 0;
  /** When a command was sent last. */
  #sentAt = 0;
  #retryTimer: NodeJS.Timeout | undefined;

  constructor(
    store: RedisStore,
    options: AppenderOptions,
    targetOf: (writer: RedisLogWriter) => AppendTarget | undefined,
    listener: AppenderListener,
  ) {
    this.#store = store;
    this.#options = options;
    this.#targetOf = targetOf;
    this.#listener = listener;
  }

  schedule(writer: RedisLogWriter): void {
    this.#waiting.add(writer);
    this.#scheduleSend();
  }

  #scheduleSend(): void {
    if (this.#isScheduled || this.#calls >= MAX_CALLS) return;
    this.#isScheduled = true;
    const send = (): void => {
      this.#isScheduled = false;
      this.#sendWaiting();
    };
    const pauseMs = this.#roundTripMs <= SLOW_MS ? INTERVAL_MS : this.#roundTripMs;
    const restMs = this.#sentAt + Math.min(MAX_STRETCH_MS, pauseMs) - performance.now();
    // All appends of one turn of the event loop leave together.
    if (restMs <= 0) setImmediate(send);
    else setTimeout(send, restMs);
  }

  /** Sends again what was not answered. */
  retry(): void {
    const unanswered = [...this.#unanswered];
    this.#unanswered.clear();
    this.#send(unanswered.flatMap((writer) => this.#pairOf(writer, writer.unansweredBatch)));
  }

  close(): void {
    clearTimeout(this.#retryTimer);
    this.#waiting.clear();
    this.#unanswered.clear();
  }

  #sendWaiting(): void {
    // Each command has a fixed cost: what comes meanwhile leaves together.
    if (this.#calls >= MAX_CALLS) return;
    const writers = [...this.#waiting];
    this.#waiting.clear();
    this.#send(writers.flatMap((writer) => this.#pairOf(writer, writer.nextBatch())));
  }

  #pairOf(writer: RedisLogWriter, batch: Batch | undefined): [] | [[AppendTarget, Batch]] {
    const target = this.#targetOf(writer);
    return target === undefined || batch === undefined ? [] : [[target, batch]];
  }

  #send(pairs: readonly [AppendTarget, Batch][]): void {
    let call: [AppendTarget, Batch][] = [];
    let units = 0;
    for (const pair of pairs) {
      const [, { at, next }] = pair;
      if (call.length === MAX_TARGETS || (call.length > 0 && units + next - at > MAX_CALL_UNITS)) {
        void this.#call(call);
        call = [];
        units = 0;
      }
      call.push(pair);
      units += next - at;
    }
    if (call.length > 0) void this.#call(call);
  }

  async #call(pairs: readonly [AppendTarget, Batch][]): Promise<void> {
    const { liveMs, retentionMs } = this.#options;
    const args = pairs.flatMap(([{ gid, fence, writer }, batch]) => [
      gid,
      fence,
      batch.at,
      batch.next,
      JSON.stringify(batch.entries),
      ...stateAfter(batch, writer),
    ]);
    const sentAt = performance.now();
    this.#sentAt = sentAt;
    let results: readonly Reply[];
    this.#calls += 1;
    try {
      results = (await this.#store.write('append', [liveMs, retentionMs, ...args])) as Reply[];
    } catch (cause) {
      for (const [{ writer }] of pairs) this.#unanswered.add(writer);
      if (isFull(cause)) this.#store.noteFull();
      this.#retryTimer ??= setTimeout(() => {
        this.#retryTimer = undefined;
        this.retry();
      }, RETRY_MS);
      return;
    } finally {
      this.#calls -= 1;
      if (this.#waiting.size > 0) this.#scheduleSend();
    }
    const roundTripMs = performance.now() - sentAt;
    this.#roundTripMs += (roundTripMs - this.#roundTripMs) * WEIGHT;
    this.#listener.onRoundTrip(roundTripMs);
    pairs.forEach(([target, batch], i) => {
      const result = results[i] as AppendResult;
      if (target.writer.answered(batch, result)) this.schedule(target.writer);
      else this.#listener.onRefused(target, result);
    });
  }
}

/** @returns the status of the log after a batch, its attempt, and the code of its end (`-` if it has none). */
function stateAfter({ entries }: Batch, { generation }: RedisLogWriter): [string, number, string] {
  let attempt = generation.log.start?.attempt ?? 0;
  let hasText = generation.log.textLength > 0;
  for (const entry of entries) {
    if (entry.type === 'text') hasText = true;
    if (entry.type !== 'start') continue;
    attempt = entry.attempt;
    hasText = false;
  }
  const last: Entry | undefined = entries.at(-1);
  if (last === undefined || !isTerminal(last))
    return [hasText ? 'streaming' : 'waiting', attempt, '-'];
  return ['ended', attempt, last.type === 'error' ? last.code : ''];
}
