import { type Entry, isTerminal } from '../entry.js';

/** A slice of a log: `entry` covers `[offset, offset + size)`. */
export interface LogSlice {
  offset: number;
  size: number;
  entry: Entry;
  /** The text as JSON; computed when a reader first needs it. */
  json?: string;
}

/**
 * A response as an append-only log. Text uses one offset unit for each UTF-16 unit, any other entry one unit.
 * The log does not know its readers: each reader stores its own offset.
 */
export interface Log {
  /** The offset after the last entry. */
  readonly head: number;
  /** True once the terminal entry is in the log. */
  readonly done: boolean;
  /**
   * The bytes that the log holds in memory, including its fixed cost. The log counts two bytes for each
   * UTF-16 unit, although V8 needs only one for Latin-1 text.
   */
  readonly bytes: number;
  /** The beginning of the newest attempt; undefined before the first. */
  readonly start: { readonly offset: number; readonly attempt: number } | undefined;
  /** UTF-16 units of the current attempt's text so far; a `start` entry resets it to 0. */
  readonly textLength: number;
  /**
   * Adds an entry.
   * @returns false if the log has its terminal entry; the log ignores later entries.
   * @throws {TypeError} The entry cannot be written as JSON. The log is unchanged.
   */
  append(entry: Entry): boolean;
  /**
   * Reads the next slice from `offset`: text of at most `max` units, from as many entries as necessary, or
   * one other entry. The cost depends on the size of the slice, not on the length of the log.
   * A surrogate pair is never split: at a pair, a `max` of 1 returns 2 units.
   * @returns undefined if there is nothing to read yet.
   */
  read(offset: number, max: number): LogSlice | undefined;
  /** Calls `listener` after each append. */
  addListener(listener: LogListener): void;
  removeListener(listener: LogListener): void;
}

export interface LogListener {
  onAppend(): void;
}

/** Reads all slices from `offset` to the end of the log. */
export function* slicesOf(log: Log, offset = 0): Generator<LogSlice> {
  for (let at = offset; ;) {
    const slice = log.read(at, Infinity);
    if (slice === undefined) return;
    yield slice;
    at += slice.size;
  }
}

/**
 * Sealed text, or another entry as JSON. Its content is a flat string that shares no memory with other
 * strings.
 */
interface Part {
  offset: number;
  isText: boolean;
  content: string;
}

const NO_LISTENERS: readonly LogListener[] = [];
const SEGMENT_UNITS = 1_024;
/** `Buffer.write` has a fixed cost; a loop is faster for texts up to this length. */
const SHORT_UNITS = 32;

const BYTES_PER_UNIT = 2;
/** A part, its string's header and its slot in the array. */
const PART_BYTES = 80;
/** The first tail of a log is smaller, because most streams are waiting or have just begun. */
const FIRST_TAIL_UNITS = 128;
/** The two objects of a tail in the heap. */
const TAIL_BYTES = 320;
/** A log without entries. */
const LOG_BYTES = 448;

const SCRATCH_UNITS = 16_384;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_UNITS * BYTES_PER_UNIT);

export function createLog(): Log {
  return new SegmentedLog();
}

/** @returns a log with the entries of `log` below `end`. */
export function copyLog(log: Log, end: number): Log {
  const copy = createLog();
  while (copy.head < end) {
    const slice = log.read(copy.head, end - copy.head);
    if (slice === undefined) break;
    copy.append(slice.entry);
  }
  return copy;
}

/**
 * The newest text is written into a buffer, the tail. A full tail is sealed: its text becomes one flat
 * string. Appending to a string instead would keep every token in memory as a separate node, and a token that
 * was sliced from a larger string keeps that string in memory.
 */
class SegmentedLog implements Log {
  head = 0;
  done = false;
  bytes = LOG_BYTES;
  textLength = 0;
  start: Log['start'];
  readonly #parts: Part[] = [];
  #listeners: readonly LogListener[] = NO_LISTENERS;
  /** The most recent slice of text, cached for the other readers; undefined after the next append. */
  #newestSlice: LogSlice | undefined;
  #tail: Buffer | undefined;
  /** The offset where the tail begins. */
  #sealed = 0;

  append(entry: Entry): boolean {
    if (this.done) return false;
    if (entry.type === 'text') this.#appendText(entry.text);
    else this.#appendOther(entry);
    this.#newestSlice = undefined;
    for (const listener of this.#listeners) listener.onAppend();
    return true;
  }

  read(offset: number, max: number): LogSlice | undefined {
    if (offset < 0 || offset >= this.head || max <= 0) return undefined;
    if (!this.#isText(offset)) {
      const { content } = this.#parts[this.#find(offset)]!;
      return { offset, size: 1, entry: JSON.parse(content) as Entry };
    }
    const newest = this.#newestSlice;
    if (newest?.offset === offset && newest.size <= max) return newest;
    const slice = this.#readText(offset, max) ?? this.#readText(offset, Math.max(max, 2));
    if (this.#listeners.length > 1 && slice !== undefined && !this.done) {
      if (offset + slice.size === this.head) this.#newestSlice = slice;
    }
    return slice;
  }

  addListener(listener: LogListener): void {
    this.#listeners = [...this.#listeners, listener];
  }

  removeListener(listener: LogListener): void {
    this.#listeners = this.#listeners.filter((one) => one !== listener);
  }

  #appendText(text: string): void {
    this.textLength += text.length;
    if (text.length >= SEGMENT_UNITS) {
      this.#addPart(true, flat(text), text.length);
      return;
    }
    const room = SEGMENT_UNITS - (this.head - this.#sealed);
    if (text.length <= room) {
      this.#write(text);
      return;
    }
    this.#write(text.slice(0, room));
    this.#seal();
    this.#write(text.slice(room));
  }

  #appendOther(entry: Entry): void {
    const offset = this.head;
    this.#addPart(false, flat(JSON.stringify(entry)), 1);
    if (entry.type === 'start') {
      this.start = { offset, attempt: entry.attempt };
      this.textLength = 0;
    }
    if (!isTerminal(entry)) return;
    this.done = true;
    this.#closeTail();
  }

  /** Adds to the tail, which has room for `text`. */
  #write(text: string): void {
    const tail = this.#tailFor(this.head - this.#sealed + text.length);
    let at = (this.head - this.#sealed) * BYTES_PER_UNIT;
    if (text.length > SHORT_UNITS) tail.write(text, at, 'utf16le');
    else {
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        tail[at++] = unit;
        tail[at++] = unit >> 8;
      }
    }
    this.head += text.length;
  }

  #seal(): void {
    const units = this.head - this.#sealed;
    if (units > 0) this.#push(true, this.#tailText(0, units));
  }

  #addPart(isText: boolean, content: string, size: number): void {
    this.#seal();
    this.head += size;
    this.#push(isText, content);
  }

  /** Adds a part that ends at `head`. */
  #push(isText: boolean, content: string): void {
    this.#parts.push({ offset: this.#sealed, isText, content });
    this.bytes += PART_BYTES + content.length * BYTES_PER_UNIT;
    this.#sealed = this.head;
  }

  /** @returns the tail, with room for `units`. */
  #tailFor(units: number): Buffer {
    const before = this.#tail;
    if (before !== undefined && units * BYTES_PER_UNIT <= before.length) return before;
    const capacity = units <= FIRST_TAIL_UNITS ? FIRST_TAIL_UNITS : SEGMENT_UNITS;
    const tail = Buffer.allocUnsafeSlow(capacity * BYTES_PER_UNIT);
    before?.copy(tail);
    this.bytes += tail.length - (before === undefined ? -TAIL_BYTES : before.length);
    this.#tail = tail;
    return tail;
  }

  #closeTail(): void {
    if (this.#tail === undefined) return;
    this.bytes -= TAIL_BYTES + this.#tail.length;
    this.#tail = undefined;
  }

  /** @returns the units of the tail in `[from, to)`. `to` may be after its last unit. */
  #tailText(from: number, to: number): string {
    const end = Math.min(to, this.head - this.#sealed);
    return this.#tail!.toString('utf16le', from * BYTES_PER_UNIT, end * BYTES_PER_UNIT);
  }

  /** @returns the index of the part that covers `offset`. */
  #find(offset: number): number {
    let low = 0;
    let high = this.#parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#parts[middle]!.offset <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #isText(offset: number): boolean {
    if (offset >= this.#sealed) return offset < this.head;
    return this.#parts[this.#find(offset)]!.isText;
  }

  #readText(offset: number, max: number): LogSlice | undefined {
    let text = this.#sealedText(offset, max);
    const next = offset + text.length;
    if (next >= this.#sealed && next < this.head && text.length < max) {
      const from = next - this.#sealed;
      text += this.#tailText(from, from + max - text.length);
    }
    if (this.#endsInHalfPair(text, offset + text.length)) text = text.slice(0, -1);
    return text === '' ? undefined : { offset, size: text.length, entry: { type: 'text', text } };
  }

  #sealedText(offset: number, max: number): string {
    let text = '';
    if (offset >= this.#sealed) return text;
    for (let i = this.#find(offset); text.length < max; i++) {
      const part = this.#parts[i];
      if (part === undefined || !part.isText) break;
      const from = offset + text.length - part.offset;
      text += part.content.slice(from, from + max - text.length);
    }
    return text;
  }

  /** @returns true if the second half of the pair at the end of `text` is at `end`, or may still follow. */
  #endsInHalfPair(text: string, end: number): boolean {
    const last = text.charCodeAt(text.length - 1);
    if (last < 0xd800 || last > 0xdbff) return false;
    return end === this.head ? !this.done : this.#isText(end);
  }
}

/** Copies a string that may be a rope or a slice of a larger string. */
function flat(text: string): string {
  if (text.length > SCRATCH_UNITS) return Buffer.from(text, 'utf16le').toString('utf16le');
  return scratch.toString('utf16le', 0, scratch.write(text, 0, 'utf16le'));
}
