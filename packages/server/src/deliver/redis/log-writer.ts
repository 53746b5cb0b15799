import { type Entry, isTerminal, type StreamedEntry } from '../../entry.js';
import type { Generation, LogWriter } from '../generation.js';

/** The entries that are appended to a log in one step. */
export interface Batch {
  readonly at: number;
  readonly next: number;
  readonly entries: readonly Entry[];
  /** True if the log of this process has the entries already. */
  readonly isCatchingUp: boolean;
}

/** The result of an append: applied, or the head that the log has, or why it is not to be written here. */
export type AppendResult = 'ok' | 'stale' | 'stop' | 'over' | 'gone' | `at:${string}`;

/** The provider waits beyond so many UTF-16 units that Redis has not taken. */
const MAX_UNITS = 131_072;
const MAX_BATCH_UNITS = 32_768;

/**
 * Writes the log of a generation. Its readers receive an entry once Redis has it. While Redis cannot be
 * reached, they receive it at once, and Redis gets it later from the log in memory.
 */
export class RedisLogWriter implements LogWriter {
  readonly generation: Generation;
  readonly #schedule: (writer: RedisLogWriter) => void;
  readonly #onNews: () => void;
  #queue: Entry[] = [];
  #queuedUnits = 0;
  #sent: Batch | undefined;
  #isLocal: boolean;
  /** Redis has the log up to here, and needs what follows; undefined if it has all. */
  #catchUpFrom: number | undefined;
  #isEnded = false;
  #isCurrent = true;
  /** When the batch was sent first that Redis has not taken. */
  #waitsSince: number | undefined;
  #room: (() => void)[] = [];
  readonly #settled: Promise<boolean>;
  #settle!: (isCurrent: boolean) => void;

  constructor(
    generation: Generation,
    isLocal: boolean,
    schedule: (writer: RedisLogWriter) => void,
    onNews: () => void,
  ) {
    this.generation = generation;
    this.#isLocal = isLocal;
    this.#schedule = schedule;
    this.#onNews = onNews;
    this.#settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** True while readers receive entries that Redis may not have. */
  get isLocal(): boolean {
    return this.#isLocal;
  }

  /** False once another process writes the log, or nobody does. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** The `performance.now()` since when Redis has not taken a batch; undefined for none. */
  get waitsSince(): number | undefined {
    return this.#waitsSince;
  }

  /** True if Redis has all that was written. */
  get isShared(): boolean {
    const { log } = this.generation;
    const hasAll = !this.#isLocal && this.#sent === undefined && this.#queue.length === 0;
    return hasAll && this.#catchUpFrom === undefined && log.done;
  }

  write(entry: StreamedEntry): Promise<void> | undefined {
    if (!this.#isCurrent || this.#isEnded) return undefined;
    if (entry.type === 'queued' || entry.type === 'loading') {
      this.generation.write(entry);
      this.#onNews();
      return undefined;
    }
    this.#isEnded = isTerminal(entry);
    this.#add(entry);
    if (this.#isLocal) {
      this.#writeHere(this.#take(Infinity));
      if (this.#catchUpFrom !== undefined) this.#schedule(this);
      return undefined;
    }
    this.#schedule(this);
    if (this.#queuedUnits <= MAX_UNITS) return undefined;
    return new Promise((resolve) => this.#room.push(resolve));
  }

  readText(): string {
    let text = this.generation.readText();
    const sent = this.#sent?.isCatchingUp === false ? this.#sent.entries : [];
    for (const entry of [...sent, ...this.#queue]) {
      if (entry.type === 'start') text = '';
      else if (entry.type === 'text') text += entry.text;
    }
    return text;
  }

  settle(): Promise<boolean> {
    return this.#settled;
  }

  /** @returns what is to be appended next; undefined if there is nothing, or a batch is under way. */
  nextBatch(): Batch | undefined {
    if (!this.#isCurrent || this.#sent !== undefined) return undefined;
    this.#sent = this.#catchUpFrom === undefined ? this.#queuedBatch() : this.#missingBatch();
    if (this.#sent !== undefined) this.#waitsSince ??= performance.now();
    return this.#sent;
  }

  /** The batch that was sent and has no result; it is sent again after a fault. */
  get unansweredBatch(): Batch | undefined {
    return this.#isCurrent ? this.#sent : undefined;
  }

  /**
   * Takes the result of a batch. It counts only for the batch that was sent last.
   *
   * @returns false if the log is not to be written by this process as it is.
   */
  answered(batch: Batch, result: AppendResult): boolean {
    if (batch !== this.#sent || !this.#isCurrent) return true;
    if (result === 'ok' || result === `at:${batch.next}`) {
      this.#sent = undefined;
      this.#waitsSince = undefined;
      if (batch.isCatchingUp) this.#caughtUpTo(batch.next);
      else this.#writeHere(batch.entries);
      this.#freeRoom();
      return true;
    }
    const head = result.startsWith('at:') ? Number(result.slice(3)) : undefined;
    const most = batch.isCatchingUp ? this.generation.log.head : batch.at;
    if (head === undefined || head > most) return false;
    // Redis has lost the end of the log: after a failover, or a restart.
    this.#requeue();
    this.#caughtUpTo(head);
    return true;
  }

  /** Gives readers what Redis has not taken, and what comes from now on. */
  goLocal(): void {
    if (this.#isLocal || !this.#isCurrent) return;
    this.#isLocal = true;
    const sent = this.#sent;
    this.#sent = undefined;
    this.#catchUpFrom = undefined;
    if (sent !== undefined && !sent.isCatchingUp) this.#writeHere(sent.entries);
    this.#writeHere(this.#take(Infinity));
    this.#freeRoom();
  }

  /** Redis has the log up to `head` and may be given the rest. */
  resume(head: number): void {
    if (!this.#isCurrent || this.#sent !== undefined) return;
    this.#waitsSince = undefined;
    this.#caughtUpTo(head);
    this.#schedule(this);
  }

  /** Redis has nothing of the log any more. */
  startOver(): void {
    if (!this.#isCurrent) return;
    this.#requeue();
    this.resume(0);
  }

  /** Redis did not take the rest either. */
  stopCatchingUp(): void {
    if (!this.#isLocal) return;
    this.#sent = undefined;
    this.#catchUpFrom = undefined;
  }

  /** Another process writes the log, or nobody does: what was not taken is dropped. */
  end(): void {
    this.#isCurrent = false;
    this.#sent = undefined;
    this.#queue = [];
    this.#queuedUnits = 0;
    this.#freeRoom();
    this.#settle(false);
  }

  #add(entry: Entry): void {
    const last = this.#queue.at(-1);
    this.#queuedUnits += entry.type === 'text' ? entry.text.length : 1;
    if (entry.type === 'text' && last?.type === 'text')
      this.#queue[this.#queue.length - 1] = { type: 'text', text: last.text + entry.text };
    else this.#queue.push(entry);
  }

  /** Takes entries of about `units` off the queue. The first half of a surrogate pair waits for the other. */
  #take(units: number): Entry[] {
    const taken: Entry[] = [];
    let count = 0;
    for (let next = this.#queue[0]; next !== undefined && count < units; next = this.#queue[0]) {
      const isLast = this.#queue.length === 1;
      if (next.type === 'text') {
        let end = Math.min(next.text.length, units - count);
        if (isHighSurrogate(next.text, end - 1) && (end < next.text.length || isLast)) end -= 1;
        if (end <= 0) break;
        taken.push({ type: 'text', text: next.text.slice(0, end) });
        count += end;
        if (end < next.text.length) {
          this.#queue[0] = { type: 'text', text: next.text.slice(end) };
          break;
        }
      } else {
        taken.push(next);
        count += 1;
      }
      this.#queue.shift();
    }
    this.#queuedUnits -= count;
    return taken;
  }

  #queuedBatch(): Batch | undefined {
    const entries = this.#take(MAX_BATCH_UNITS);
    if (entries.length === 0) return undefined;
    const at = this.generation.log.head;
    return { at, next: at + unitsOf(entries), entries, isCatchingUp: false };
  }

  #missingBatch(): Batch | undefined {
    const at = this.#catchUpFrom ?? 0;
    const entries: Entry[] = [];
    let next = at;
    while (next - at < MAX_BATCH_UNITS) {
      const frame = this.generation.log.read(next, MAX_BATCH_UNITS);
      if (frame === undefined) break;
      entries.push(frame.entry);
      next += frame.size;
    }
    if (next > at) return { at, next, entries, isCatchingUp: true };
    this.#caughtUpTo(at);
    return this.#catchUpFrom === undefined ? this.#queuedBatch() : undefined;
  }

  #caughtUpTo(offset: number): void {
    const { log } = this.generation;
    this.#catchUpFrom = offset < log.head ? offset : undefined;
    if (this.#catchUpFrom !== undefined) return;
    this.#isLocal = false;
    if (log.done) this.#settle(true);
  }

  /** Puts back the entries of the batch. */
  #requeue(): void {
    const sent = this.#sent;
    this.#sent = undefined;
    if (sent === undefined || sent.isCatchingUp) return;
    const queued = this.#queue;
    this.#queue = [...sent.entries];
    this.#queuedUnits += unitsOf(sent.entries);
    const [first, ...rest] = queued;
    if (first === undefined) return;
    this.#queuedUnits -= first.type === 'text' ? first.text.length : 1;
    this.#add(first);
    this.#queue.push(...rest);
  }

  #writeHere(entries: readonly Entry[]): void {
    for (const entry of entries) this.generation.write(entry);
    if (this.generation.log.done) this.#settle(true);
  }

  #freeRoom(): void {
    if (this.#queuedUnits > MAX_UNITS) return;
    const waiting = this.#room;
    this.#room = [];
    for (const resolve of waiting) resolve();
  }
}

/** @returns the offset units that entries cover. */
export function unitsOf(entries: readonly Entry[]): number {
  let units = 0;
  for (const entry of entries) units += entry.type === 'text' ? entry.text.length : 1;
  return units;
}

function isHighSurrogate(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  return unit >= 0xd800 && unit <= 0xdbff;
}
