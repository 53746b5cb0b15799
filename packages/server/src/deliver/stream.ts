import type { StreamStatus } from '@rivulet/protocol';
import type { GenerateRequest } from '../request.js';
import type { Log } from './log.js';
import type { Pace } from './pace.js';
import { createReader, type Reader, type ReaderOptions, type Sink } from './reader.js';

/** What a principal asked, and under which name. */
export interface StreamIdentity {
  principal: string;
  id: string;
  /** The caller's own name for the conversation, given back in every message. */
  sessionId: string | undefined;
  request: GenerateRequest;
}

export interface Graces {
  /** How long a stream goes on whose last reader said that it left. */
  detachGraceMs: number;
  /** How long a stream goes on whose last reader was cut off, and may come back. */
  orphanGraceMs: number;
}

/** How a reader went: it said so, or its connection broke. */
export type Leaving = 'detached' | 'lost';

/** A reader's place on a stream. */
export interface Seat {
  readonly reader: Reader;
  leave(how: Leaving): void;
}

/** A log, who asked for it, and who reads it. */
export interface Stream extends StreamIdentity {
  readonly log: Log;
  readonly status: StreamStatus | 'ended';
  /** How many are ahead of it in a queue, 0 when it has left that; undefined when it was in none. */
  setAhead(ahead: number | undefined): void;
  read(options: ReaderOptions, sink: Sink): Seat;
  /** Readers are closed and no timer is left. */
  dispose(): void;
}

/** `abandon` is called when the last reader has been gone for its grace. */
export function createStream(
  identity: StreamIdentity,
  log: Log,
  graces: Graces,
  pace: Pace,
  abandon: () => void,
): Stream {
  const readers = new Set<Reader>();
  let ahead: number | undefined;
  let keepUntil = 0;
  let timer: NodeJS.Timeout | undefined;

  function leave(reader: Reader, how: Leaving): void {
    if (!readers.delete(reader)) return;
    reader.close();
    const graceMs = how === 'detached' ? graces.detachGraceMs : graces.orphanGraceMs;
    // One that was cut off before may still come back, whatever the last one says.
    keepUntil = Math.max(keepUntil, performance.now() + graceMs);
    if (readers.size === 0 && !log.done) {
      timer = setTimeout(abandon, keepUntil - performance.now()).unref();
    }
  }

  function aheadNow(): number | undefined {
    return log.done ? undefined : ahead;
  }

  return {
    ...identity,
    log,
    get status() {
      if (log.done) return 'ended';
      if (ahead !== undefined && ahead > 0) return 'queued';
      return log.head === 0 ? 'waiting' : 'streaming';
    },
    setAhead(now) {
      if (now === ahead) return;
      ahead = now;
      for (const reader of readers) pace.soon(reader);
    },
    read(options, sink) {
      clearTimeout(timer);
      keepUntil = 0;
      const reader = createReader({ log, ahead: aheadNow }, options, sink, pace);
      readers.add(reader);
      return { reader, leave: (how) => leave(reader, how) };
    },
    dispose() {
      clearTimeout(timer);
      for (const reader of readers) reader.close();
      readers.clear();
    },
  };
}
