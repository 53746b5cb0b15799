import type { Entry } from '../entry.js';
import type { LogSlice, Log, LogListener } from './log.js';

interface End {
  offset: number;
  textLength: number;
  start: Log['start'];
  entry: Entry;
}

/**
 * A view of another log, its source, until the view has a terminal entry of its own. Streams that share one
 * generation share its text; each of them can be cancelled separately. A view stores only its terminal entry.
 */
export interface LogView extends Log {
  /** Changes the source of the view. Does nothing if the view has a terminal entry. */
  follow(source: Log): void;
  /**
   * Ends the view at `offset`, or at the end of its source if that is lower.
   * @returns false if the view has ended already.
   */
  endAt(offset: number, entry: Entry): boolean;
}

export function createLogView(source: Log): LogView {
  return new View(source);
}

class View implements LogView {
  #source: Log;
  #listeners: readonly LogListener[] = [];
  #end: End | undefined;

  constructor(source: Log) {
    this.#source = source;
  }

  get head(): number {
    return this.#end === undefined ? this.#source.head : this.#end.offset + 1;
  }

  get done(): boolean {
    return this.#end !== undefined || this.#source.done;
  }

  /** The bytes of the source, which all its views share. */
  get bytes(): number {
    return this.#source.bytes;
  }

  get start(): Log['start'] {
    return (this.#end ?? this.#source).start;
  }

  get textLength(): number {
    return (this.#end ?? this.#source).textLength;
  }

  follow(source: Log): void {
    if (this.#end !== undefined) return;
    for (const listener of this.#listeners) {
      this.#source.removeListener(listener);
      source.addListener(listener);
    }
    this.#source = source;
    for (const listener of this.#listeners) listener.onAppend();
  }

  append(entry: Entry): boolean {
    return this.endAt(Infinity, entry);
  }

  endAt(offset: number, entry: Entry): boolean {
    if (this.done) return false;
    const { head, textLength, start } = this.#source;
    if (offset < head) {
      this.#end = { offset, textLength: textBefore(this.#source, offset), start, entry };
      for (const listener of this.#listeners) listener.onAppend();
      return true;
    }
    // The source may hold back half of a surrogate pair. The view then ends before it.
    const held = head > 0 && this.#source.read(head - 1, 1) === undefined ? 1 : 0;
    this.#end = { offset: head - held, textLength: textLength - held, start, entry };
    for (const listener of this.#listeners) listener.onAppend();
    return true;
  }

  read(offset: number, max: number): LogSlice | undefined {
    const end = this.#end;
    if (end === undefined || max <= 0) return this.#source.read(offset, max);
    if (offset === end.offset) return { offset, size: 1, entry: end.entry };
    const rest = end.offset - offset;
    const slice = this.#source.read(offset, Math.min(max, rest));
    return slice && cut(slice, rest);
  }

  addListener(listener: LogListener): void {
    this.#source.addListener(listener);
    this.#listeners = [...this.#listeners, listener];
  }

  removeListener(listener: LogListener): void {
    this.#source.removeListener(listener);
    this.#listeners = this.#listeners.filter((one) => one !== listener);
  }
}

/** @returns the length of the current attempt's text before `end`. */
function textBefore(log: Log, end: number): number {
  let length = 0;
  for (let offset = log.start?.offset ?? 0; offset < end;) {
    const slice = log.read(offset, end - offset);
    if (slice === undefined) break;
    if (slice.entry.type === 'text') length += slice.size;
    offset += slice.size;
  }
  return length;
}

function cut(slice: LogSlice, length: number): LogSlice {
  const { offset, size, entry } = slice;
  if (entry.type !== 'text' || size <= length) return slice;
  return { offset, size: length, entry: { type: 'text', text: entry.text.slice(0, length) } };
}
