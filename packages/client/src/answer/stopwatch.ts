import type { AnswerTiming } from '../types.js';

/** Measures one answer, from its start on. */
export interface Stopwatch {
  /** Undefined until the first text. */
  readonly firstChunkMs: number | undefined;
  /** Notes the arrival of text; only the first call has an effect. */
  markText(): void;
  timing(): AnswerTiming;
}

/** @param elapsedBeforeMs time since the start, for an answer that an earlier page started. */
export function createStopwatch(elapsedBeforeMs = 0, firstChunkMs?: number): Stopwatch {
  const askedAt = performance.now() - elapsedBeforeMs;
  const elapsedMs = (): number => Math.round(performance.now() - askedAt);
  return {
    get firstChunkMs() {
      return firstChunkMs;
    },
    markText: () => void (firstChunkMs ??= elapsedMs()),
    timing: () => ({
      totalMs: elapsedMs(),
      ...(firstChunkMs !== undefined && { firstChunkMs }),
    }),
  };
}
