/** Pieces are joined once they have this many UTF-16 units together. */
const SEGMENT_UNITS = 1_024;

/**
 * Text that grows in small pieces. A string that grows by `+=` keeps each piece in a node of its own,
 * which takes more memory than the text until the string is read. This class keeps flat segments instead.
 */
export class FlatText {
  /** UTF-16 units so far. */
  length = 0;
  #segments: string[] | undefined = [];
  #pending = '';
  readonly #onSegment: (segment: string) => void;

  /** `onSegment` receives each segment in order, the last ones when the text is read. */
  constructor(onSegment: (segment: string) => void = () => {}) {
    this.#onSegment = onSegment;
  }

  add(text: string): void {
    this.length += text.length;
    this.#pending += text;
    if (this.#pending.length >= SEGMENT_UNITS) this.#flush();
  }

  /** Stops keeping the text. `length` and `onSegment` go on. */
  discard(): void {
    this.#segments = undefined;
  }

  /** @returns the whole text; undefined if it was discarded. */
  read(): string | undefined {
    this.end();
    return this.#segments?.join('');
  }

  /** Gives what is pending to `onSegment`. */
  end(): void {
    if (this.#pending !== '') this.#seal(this.#pending);
    this.#pending = '';
  }

  #flush(): void {
    const text = this.#pending;
    // A surrogate pair that is split over two segments could not be encoded.
    const end = text.length - (endsInHighSurrogate(text) ? 1 : 0);
    this.#pending = text.slice(end);
    this.#seal(text.slice(0, end));
  }

  #seal(text: string): void {
    const segment = Buffer.from(text, 'utf16le').toString('utf16le');
    this.#segments?.push(segment);
    this.#onSegment(segment);
  }
}

function endsInHighSurrogate(text: string): boolean {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff;
}
