import type { EntrySink, StreamedEntry } from '../entry.js';
import { FlatText } from './flat-text.js';

/** The limit of entries that wait for the consumer. */
const MAX_WAITING = 64;
const MAX_WAITING_UNITS = 16_384;

/** A queue of entries between an answer and its consumer. It is full while the consumer is behind. */
export class EntryQueue implements EntrySink {
  #waiting: StreamedEntry[] = [];
  #waitingUnits = 0;
  #closed = false;
  #wake = (): void => {};
  #drained: { promise: Promise<void>; resolve(): void } | undefined;
  #text = new FlatText();
  readonly #maxTextUnits: number;

  /** The text is kept for `readText` up to `maxTextUnits` UTF-16 units. */
  constructor(maxTextUnits: number) {
    this.#maxTextUnits = maxTextUnits;
  }

  write(entry: StreamedEntry): Promise<void> | undefined {
    if (this.#closed) return undefined;
    if (entry.type === 'start') this.#text = new FlatText();
    if (entry.type === 'text') this.#keep(entry.text);
    if (entry.type === 'text' || entry.type === 'thought') this.#waitingUnits += entry.text.length;
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

  /** Closes the queue. No entry follows, and nobody waits for the consumer any more. */
  end(): void {
    this.#closed = true;
    this.#wake();
    this.#release();
  }

  /**
   * Takes all waiting entries; waits for one if there is none.
   *
   * @returns an empty array after the last entry.
   */
  async take(): Promise<readonly StreamedEntry[]> {
    while (this.#waiting.length === 0 && !this.#closed)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    const entries = this.#waiting;
    this.#waiting = [];
    this.#waitingUnits = 0;
    this.#release();
    return entries;
  }

  #release(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  #keep(text: string): void {
    this.#text.add(text);
    if (this.#text.length > this.#maxTextUnits) this.#text.discard();
  }
}
