import type { Entry } from '../entry.js';
import type { Frame, Log } from './log.js';

/**
 * A log that goes along with another one until it gets an end of its own: streams that share one
 * generation share its text, and each can be cancelled for itself. What it takes is only that end.
 */
export function createBranch(trunk: Log): Log {
  const listeners = new Set<() => void>();
  let end: { offset: number; entry: Entry; start: Log['start']; textLength: number } | undefined;

  /** Half of a surrogate pair that the trunk still holds back is no part of the branch. */
  function lengthSoFar(): number {
    const holdsBack = trunk.head > 0 && trunk.read(trunk.head - 1, 1) === undefined;
    return holdsBack ? trunk.head - 1 : trunk.head;
  }

  function cut(frame: Frame, length: number): Frame {
    const { offset, size, entry } = frame;
    if (entry.type !== 'text' || size <= length) return frame;
    return { offset, size: length, entry: { type: 'text', text: entry.text.slice(0, length) } };
  }

  return {
    get head() {
      return end === undefined ? trunk.head : end.offset + 1;
    },
    get done() {
      return end !== undefined || trunk.done;
    },
    get start() {
      return end === undefined ? trunk.start : end.start;
    },
    get textLength() {
      return end === undefined ? trunk.textLength : end.textLength;
    },
    get bytes() {
      return trunk.bytes;
    },
    append(entry) {
      if (end !== undefined || trunk.done) return false;
      const offset = lengthSoFar();
      const textLength = trunk.textLength - (trunk.head - offset);
      end = { offset, entry, start: trunk.start, textLength };
      for (const listener of listeners) listener();
      return true;
    },
    read(offset, max) {
      if (end === undefined || max <= 0) return trunk.read(offset, max);
      if (offset === end.offset) return { offset, size: 1, entry: end.entry };
      const frame = trunk.read(offset, Math.min(max, end.offset - offset));
      return frame && cut(frame, end.offset - offset);
    },
    onAppend(listener) {
      const stop = trunk.onAppend(listener);
      listeners.add(listener);
      return () => {
        stop();
        listeners.delete(listener);
      };
    },
  };
}
