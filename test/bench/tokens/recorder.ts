import { monotonicMs } from './clock.js';
import { endOfToken, isTextAt, unitsOf } from './text.js';
import type { StreamRequest } from './upstream.js';

/** Checks the text of one stream, and notes when its tokens came. */
export interface Recorder {
  take(text: string): void;
  /** Tokens that have come whole. */
  readonly tokens: number;
  /** Undefined until the first text. */
  readonly firstAtMs: number | undefined;
  /** The arrival times of the tokens, 0 for missing ones; undefined if the request is not timed. */
  readonly arrivedAt: Float64Array | undefined;
  /** @returns true if all text so far was right. */
  isRight(): boolean;
  /** @returns true if the whole text came, and nothing else. */
  isComplete(): boolean;
}

export function createRecorder(request: StreamRequest): Recorder {
  const arrivedAt = request.timed ? new Float64Array(request.tokens) : undefined;
  let units = 0;
  let tokens = 0;
  let firstAtMs: number | undefined;
  let right = true;
  return {
    take(text) {
      const now = monotonicMs();
      firstAtMs ??= now;
      if (!isTextAt(units, text)) right = false;
      units += text.length;
      // Pieces need not be tokens: a token has come when its last character has.
      while (tokens < request.tokens && endOfToken(tokens) <= units) {
        if (arrivedAt !== undefined) arrivedAt[tokens] = now;
        tokens++;
      }
    },
    get tokens() {
      return tokens;
    },
    get firstAtMs() {
      return firstAtMs;
    },
    arrivedAt,
    isRight: () => right,
    isComplete: () => right && units === unitsOf(request.tokens),
  };
}
