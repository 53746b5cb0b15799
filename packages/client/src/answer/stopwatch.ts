import type { AnswerTiming } from '../types.js';

/** The times of one answer, from its ask on. */
export interface Stopwatch {
  /** Undefined until the first text. */
  readonly firstChunkMs: number | undefined;
  noteText(): void;
  timing(): AnswerTiming;
}

/** `begunMs` ago it was asked, perhaps by a page that is gone, which may have seen the first text. */
export function createStopwatch(begunMs = 0, firstChunkMs?: number): Stopwatch {
  const askedAt = performance.now() - begunMs;
  const elapsedMs = (): number => Math.round(performance.now() - askedAt);
  return {
    get firstChunkMs() {
      return firstChunkMs;
    },
    noteText: () => void (firstChunkMs ??= elapsedMs()),
    timing: () => ({
      totalMs: elapsedMs(),
      ...(firstChunkMs !== undefined && { firstChunkMs }),
    }),
  };
}
