import { type Entry, isTerminal } from '../entry.js';

/** A piece of a log: `entry` covers `[offset, offset + size)`. */
export interface Frame {
  offset: number;
  size: number;
  entry: Entry;
}

/**
 * A response as an append-only log. Text counts one offset unit for each UTF-16 unit, any other
 * entry one. The log knows no reader: whoever reads keeps an offset of its own.
 */
export interface Log {
  /** The offset after the last entry. */
  readonly head: number;
  /** Whether the terminal entry is in. */
  readonly done: boolean;
  /** Where the newest attempt begins; undefined before the first. */
  readonly start: { readonly offset: number; readonly attempt: number } | undefined;
  /** UTF-16 units of the newest attempt's text so far. */
  readonly textLength: number;
  /** Bytes that the log holds in memory, near enough to bound it. */
  readonly bytes: number;
  /** Adds an entry. After the terminal entry nothing is added any more; false says that it was not. */
  append(entry: Entry): boolean;
  /**
   * The next piece from `offset`: text of at most `max` units, from as many entries as that takes, or
   * one other entry. Undefined where there is nothing yet. A surrogate pair is never split, so where one
   * begins a `max` of 1 gives 2.
   */
  read(offset: number, max: number): Frame | undefined;
  /** Calls `listener` after each append until the returned function is called. */
  onAppend(listener: () => void): () => void;
}

// Appending to a string that has been sliced copies it, so text is kept in segments of this length
// and only the last of them grows.
const SEGMENT_UNITS = 1024;
const ENTRY_OVERHEAD_BYTES = 128;

export function createLog(): Log {
  const frames: Frame[] = [];
  const listeners = new Set<() => void>();
  let head = 0;
  let bytes = 0;
  let done = false;
  let start: Log['start'];
  let textLength = 0;

  function push(size: number, entry: Entry): void {
    frames.push({ offset: head, size, entry });
    bytes += ENTRY_OVERHEAD_BYTES;
  }

  function appendText(text: string): void {
    const last = frames.at(-1);
    if (last?.entry.type === 'text' && last.size + text.length <= SEGMENT_UNITS) {
      last.entry = { type: 'text', text: last.entry.text + text };
      last.size += text.length;
    } else {
      push(text.length, { type: 'text', text });
    }
    head += text.length;
    bytes += text.length * 2;
  }

  /** The index of the frame that covers `offset`. */
  function find(offset: number): number {
    let low = 0;
    let high = frames.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (frames[middle]!.offset <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  function readText(index: number, offset: number, max: number): Frame | undefined {
    let text = '';
    for (let i = index; text.length < max; i++) {
      const frame = frames[i];
      if (frame?.entry.type !== 'text') break;
      const from = offset + text.length - frame.offset;
      text += frame.entry.text.slice(from, from + max - text.length);
    }
    if (endsInHalfPair(text, offset + text.length)) text = text.slice(0, -1);
    return text === '' ? undefined : { offset, size: text.length, entry: { type: 'text', text } };
  }

  /** Whether the other half of the pair at the end of `text` is at `end`, or may still come. */
  function endsInHalfPair(text: string, end: number): boolean {
    const last = text.charCodeAt(text.length - 1);
    if (last < 0xd800 || last > 0xdbff) return false;
    return end === head ? !done : frames[find(end)]?.entry.type === 'text';
  }

  return {
    get head() {
      return head;
    },
    get done() {
      return done;
    },
    get start() {
      return start;
    },
    get textLength() {
      return textLength;
    },
    get bytes() {
      return bytes;
    },
    append(entry) {
      if (done) return false;
      if (entry.type === 'text') {
        appendText(entry.text);
        textLength += entry.text.length;
      } else {
        // First, since what JSON cannot hold throws here and is not to be read by anyone.
        bytes += toolBytes(entry);
        push(1, entry);
        if (entry.type === 'start') {
          start = { offset: head, attempt: entry.attempt };
          textLength = 0;
        }
        head += 1;
        done = isTerminal(entry);
      }
      for (const listener of listeners) listener();
      return true;
    },
    read(offset, max) {
      if (offset < 0 || offset >= head || max <= 0) return undefined;
      const index = find(offset);
      const frame = frames[index]!;
      if (frame.entry.type !== 'text') return frame;
      return readText(index, offset, max) ?? readText(index, offset, Math.max(max, 2));
    },
    onAppend(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** What a tool was given or gave may be as long as a text. */
function toolBytes(entry: Entry): number {
  const isTool = entry.type === 'tool_call' || entry.type === 'tool_result';
  return isTool ? JSON.stringify(entry).length * 2 : 0;
}
