/** Pieces are joined when they have this many UTF-16 units together. */
const SEGMENT_UNITS = 1_024;

/**
 * A text that grows in small pieces. A string that grows by `+=` keeps each piece as a separate node, which
 * uses more memory than the text until the string is read. This class stores flat segments instead.
 */
export class FlatText {
  /** The UTF-16 units so far. */
  length = 0;
  #segments: string[] | undefined = [];
  #pending = '';

  add(text: string): void {
    this.length += text.length;
    if (this.#segments === undefined) return;
    this.#pending += text;
    if (this.#pending.length < SEGMENT_UNITS) return;
    this.#segments.push(Buffer.from(this.#pending, 'utf16le').toString('utf16le'));
    this.#pending = '';
  }

  /** Releases the text. `length` still grows. */
  discard(): void {
    this.#segments = undefined;
    this.#pending = '';
  }

  /** @returns the whole text; undefined if it was discarded. */
  read(): string | undefined {
    return this.#segments && this.#segments.join('') + this.#pending;
  }
}
