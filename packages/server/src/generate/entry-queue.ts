import type { EntrySink, StreamedEntry } from '../entry.js';
import { FlatText } from './flat-text.js';

/** Entries that wait for the consumer. */
const MAX_WAITING = 64;
const MAX_WAITING_UNITS = 16_384;

/** A sink that is read as an async iterator. It is full while the consumer is behind. */
export class EntryQueue implements EntrySink {
  #waiting: StreamedEntry[] = [];
  #waitingUnits = 0;
  #closed = false;
  #wake = (): void => {};
  #drained: { promise: Promise<void>; resolve(): void } | undefined;
  #text = new FlatText();
  readonly #maxTextUnits: number;

  /** A text is kept for `readText` as long as it has at most `maxTextUnits` UTF-16 units. */
  constructor(maxTextUnits: number) {
    this.#maxTextUnits = maxTextUnits;
  }

  write(entry: StreamedEntry): Promise<void> | undefined {
    if (this.#closed) return undefined;
    if (entry.type === 'start') this.#text = new FlatText();
    else if (entry.type === 'text') this.#keep(entry.text);
    this.#waiting.push(entry);
    this.#wake();
    if (this.#waiting.length < MAX_WAITING && this.#waitingUnits < MAX_WAITING_UNITS)
      return undefined;
    if (this.#drained === undefined) {
      let resolve = (): void => {};
      const promise = new Promise<void>((done) => (resolve = done));
      this.#drained = { promise, resolve };
    }
    return this.#drained.promise;
  }

  readText(): string {
    return this.#text.read() ?? '';
  }

  /** Ends the iteration once it has given what waits. */
  end(): void {
    this.#closed = true;
    this.#wake();
  }

  async *read(): AsyncGenerator<StreamedEntry, void, undefined> {
    for (;;) {
      const entries = this.#waiting;
      this.#waiting = [];
      this.#waitingUnits = 0;
      this.#drained?.resolve();
      this.#drained = undefined;
      for (const entry of entries) yield entry;
      if (this.#waiting.length > 0) continue;
      if (this.#closed) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #keep(text: string): void {
    this.#waitingUnits += text.length;
    this.#text.add(text);
    if (this.#text.length > this.#maxTextUnits) this.#text.discard();
  }
}
