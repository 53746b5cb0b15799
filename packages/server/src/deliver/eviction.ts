import { StreamError } from '@rivulet/protocol';
import type { ErrorEntry } from '../entry.js';
import type { Generation } from './generation.js';
import type { MemoryBudget } from './memory-budget.js';
import type { Stream } from './stream.js';
import { DrainingError } from './stream-directory.js';

/** The registry, as far as eviction uses it. */
export interface EvictionTarget {
  /** The streams that have ended and can still be read, oldest first. */
  finished(): Iterable<Stream>;
  finishedOf(principal: string): Stream[];
  /** @returns the principal's running stream that holds the most bytes. */
  largestRunning(principal: string): Stream | undefined;
  /** Ends a stream with `entry`. Does nothing if the stream has ended. */
  end(stream: Stream, entry: ErrorEntry): void;
  /** Drops a stream. Its readers receive `reason`, or the usual error. */
  forget(stream: Stream, reason?: ErrorEntry): void;
}

const OWN_MEMORY_USED: ErrorEntry = {
  type: 'error',
  code: 'overloaded',
  message:
    'unable to finish the answer: your answers use all the memory that one user may use; ask again once others have ended',
  retryAfterMs: 1_000,
};
const MEMORY_USED: ErrorEntry = {
  type: 'error',
  code: 'overloaded',
  message: 'unable to finish the answer: the server is full; ask again soon',
  retryAfterMs: 1_000,
};
/** One principal may use this share of the memory budget. */
const PRINCIPAL_SHARE = 1 / 8;
const RETRY_MS = 1_000;

/**
 * Keeps streams within the memory budget. Above the budget, or above the share of one principal, finished
 * streams are dropped. If that is not enough, new streams are refused and running streams end: those of the
 * principal that is above its share, or of the principal that uses the most memory.
 */
export class Eviction {
  readonly #budget: MemoryBudget;
  readonly #maxBytes: number;
  readonly #target: EvictionTarget;

  constructor(budget: MemoryBudget, maxBytes: number, target: EvictionTarget) {
    this.#budget = budget;
    this.#maxBytes = maxBytes;
    this.#target = target;
  }

  /**
   * Makes room for a request of a new stream.
   *
   * @throws {StreamError} overloaded, if there is no room.
   */
  admit(principal: string, requestBytes: number): void {
    if (!this.#makeOwnRoom(principal, requestBytes)) {
      throw overloaded(
        'your answers use all the memory that one user may; try again once others have ended',
      );
    }
    const ownBytes = this.#budget.usedBytesOf(principal) + requestBytes;
    if (!this.#makeRoom(requestBytes, ownBytes)) {
      throw overloaded('the server is full; try again soon');
    }
  }

  /** Counts the bytes that the generation's log has grown by. Ends streams if there is no room for them. */
  makeRoomFor(generation: Generation): void {
    this.#budget.update(generation);
    for (const stream of generation.streams) {
      if (!this.#makeOwnRoom(stream.principal, 0)) this.#target.end(stream, OWN_MEMORY_USED);
    }
    this.#makeRoom(0, 0);
  }

  /**
   * Drops finished streams of the principal, those with readers last, until it has room for `moreBytes`.
   * @returns false if there is no room.
   */
  #makeOwnRoom(principal: string, moreBytes: number): boolean {
    const maxBytes = this.#maxBytes * PRINCIPAL_SHARE;
    const hasRoom = (): boolean => this.#budget.usedBytesOf(principal) + moreBytes <= maxBytes;
    if (hasRoom()) return true;
    const target = this.#target;
    return (
      this.#drop(unread(target.finishedOf(principal)), hasRoom) ||
      this.#drop(target.finishedOf(principal), hasRoom)
    );
  }

  /**
   * Drops finished streams without readers until there is room for `moreBytes`. If that is not enough, drops
   * other streams of the principal that uses the most memory, as long as it uses more than `ownBytes`.
   * Streams of smaller principals stay, so that a client that stops reading does not cost other users their
   * streams.
   * @returns false if there is no room.
   */
  #makeRoom(moreBytes: number, ownBytes: number): boolean {
    const budget = this.#budget;
    const target = this.#target;
    const hasRoom = (): boolean => budget.usedBytes + moreBytes <= this.#maxBytes;
    if (hasRoom() || this.#drop(unread(target.finished()), hasRoom)) return true;
    for (;;) {
      const heaviest = budget.largestPrincipal();
      if (heaviest === undefined || budget.usedBytesOf(heaviest) <= ownBytes) return false;
      const stream = target.finishedOf(heaviest)[0] ?? target.largestRunning(heaviest);
      if (stream === undefined) return false;
      const isRunning = !stream.log.done;
      target.end(stream, MEMORY_USED);
      target.forget(stream, isRunning ? MEMORY_USED : undefined);
      if (hasRoom()) return true;
    }
  }

  /** Drops streams in the order given. @returns true once there is room. */
  #drop(streams: Iterable<Stream>, hasRoom: () => boolean): boolean {
    for (const stream of streams) {
      this.#target.forget(stream);
      if (hasRoom()) return true;
    }
    return false;
  }
}

function* unread(streams: Iterable<Stream>): Generator<Stream> {
  for (const stream of streams) if (!stream.hasReaders) yield stream;
}

export function draining(): DrainingError {
  const message = 'unable to start the stream: the server is being shut down; try again soon';
  return new DrainingError(message, { retryAfterMs: RETRY_MS });
}

export function overloaded(reason: string): StreamError {
  return new StreamError('overloaded', `unable to start the stream: ${reason}`, {
    retryAfterMs: RETRY_MS,
  });
}
