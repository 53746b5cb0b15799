import { randomBytes } from 'node:crypto';
import type { StreamStatus } from '@rivulet/protocol';
import type { ErrorEntry } from '../entry.js';
import type { Log } from './log.js';
import type { Pace } from './pace.js';
import { createReader, type Reader, type ReaderOptions, type Sink } from './reader.js';

/** What a principal asked, and under which name. */
export interface StreamIdentity {
  principal: string;
  id: string;
  /** The caller's own name for the conversation, given back in every message. */
  sessionId: string | undefined;
  query: string;
}

export interface StreamTimeouts {
  /** How long a stream goes on whose last reader said that it left. */
  detachTimeoutMs: number;
  /** How long a stream goes on for a reader that was cut off, and may come back. */
  disconnectTimeoutMs: number;
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
  /** The log's random id, by which a reader notices that a log was created again. */
  readonly epoch: string;
  readonly status: StreamStatus;
  readonly hasReaders: boolean;
  /** True if a reader without a window reads it: it cannot be told that the text begins again. */
  readonly hasPlainReader: boolean;
  /** True while the stream goes on only because a reader that said it left may come back. */
  readonly isDetached: boolean;
  /** How many are ahead of it in a queue, 0 when it has left that; undefined when it was in none. */
  setAhead(ahead: number | undefined): void;
  /** `readerId` is the reader's own name, by which it is known when it comes back. */
  read(options: ReaderOptions & { readerId: string | undefined }, sink: Sink): Seat;
  /** A reader that was cut off says that it will not come back. */
  giveUp(readerId: string | undefined): void;
  /** The log is being dropped: its readers are told `reason` or the usual error, and no timer is left. */
  dispose(reason?: ErrorEntry): void;
}

const EPOCH_BYTES = 9;

export interface StreamListener {
  /** `isDetached` has changed. */
  onDetachedChange(): void;
  /** No reader is left, and the time in which one could come back is over. */
  onAbandoned(): void;
}

export function createStream(
  identity: StreamIdentity,
  log: Log,
  graces: StreamTimeouts,
  pace: Pace,
  { onDetachedChange, onAbandoned }: StreamListener,
): Stream {
  const readers = new Map<Reader, string | symbol>();
  /** Until when each reader that was cut off is waited for. */
  const lostUntil = new Map<string | symbol, number>();
  let detachedUntil = 0;
  let isDetached = false;
  let ahead: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let detaching: NodeJS.Immediate | undefined;

  function setDetached(value: boolean): void {
    if (value === isDetached) return;
    isDetached = value;
    onDetachedChange();
  }

  function abandonInTime(): void {
    clearTimeout(timer);
    clearImmediate(detaching);
    if (readers.size > 0 || log.done) return setDetached(false);
    const now = performance.now();
    for (const [id, until] of lostUntil) if (until <= now) lostUntil.delete(id);
    const until = Math.max(now, detachedUntil, ...lostUntil.values());
    timer = setTimeout(onAbandoned, until - now).unref();
    // A reader that was cut off said nothing, so the stream waits for it whatever the others said.
    if (lostUntil.size > 0) return setDetached(false);
    // A view that replaces another leaves and reads again at once; both messages come in one turn.
    detaching = setImmediate(() => setDetached(true));
  }

  function leave(reader: Reader, id: string | symbol, how: Leaving): void {
    if (!readers.delete(reader)) return;
    reader.close();
    const now = performance.now();
    if (how === 'lost') lostUntil.set(id, now + graces.disconnectTimeoutMs);
    else detachedUntil = now + graces.detachTimeoutMs;
    abandonInTime();
  }

  /** Ends the readers of a connection that is dead but does not look so yet. */
  function leaveAll(id: string | symbol): void {
    for (const [reader, own] of readers) if (own === id) leave(reader, id, 'detached');
  }

  return {
    ...identity,
    log,
    epoch: randomBytes(EPOCH_BYTES).toString('base64url'),
    get status() {
      if (log.done) return 'ended';
      if (ahead !== undefined && ahead > 0) return 'queued';
      return log.head === 0 ? 'waiting' : 'streaming';
    },
    get hasPlainReader() {
      for (const reader of readers.keys()) if (reader.isPlain) return true;
      return false;
    },
    get hasReaders() {
      return readers.size > 0;
    },
    get isDetached() {
      return isDetached;
    },
    setAhead(now) {
      if (now === ahead) return;
      ahead = now;
      for (const reader of readers.keys()) pace.soon(reader);
    },
    read({ readerId, ...options }, sink) {
      const id = readerId ?? Symbol('a reader without a name');
      lostUntil.delete(id);
      const reader = createReader({ log, ahead: () => ahead }, options, sink, pace);
      leaveAll(id);
      readers.set(reader, id);
      abandonInTime();
      return { reader, leave: (how) => leave(reader, id, how) };
    },
    giveUp(readerId) {
      if (readerId === undefined) return;
      leaveAll(readerId);
      if (!lostUntil.delete(readerId)) return;
      detachedUntil = performance.now() + graces.detachTimeoutMs;
      abandonInTime();
    },
    dispose(reason) {
      clearTimeout(timer);
      clearImmediate(detaching);
      for (const reader of readers.keys()) reader.drop(reason);
      readers.clear();
    },
  };
}
