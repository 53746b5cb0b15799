import { createHash } from 'node:crypto';
import { setInterval } from 'node:timers/promises';
import { StreamError } from '@rivulet/protocol';
import type { ErrorEntry } from '../entry.js';
import type { GenerateRequest } from '../request.js';
import { createBranch } from './branch.js';
import { createGeneration, type Generate, type Generation, runGeneration } from './generation.js';
import { createMemoryBudget } from './memory-budget.js';
import { Pace } from './pace.js';
import { type StreamTimeouts, Stream, type StreamIdentity } from './stream.js';

export interface StreamLimits extends StreamTimeouts {
  /** A finished stream can be read for this long. */
  finishedRetentionMs: number;
  /**
   * The memory budget of all streams; one principal may use an eighth of it. Past either, finished streams
   * are dropped. Then new streams are refused, and running streams end: those of the principal that is
   * past its eighth, or of the one that uses the most.
   */
  maxLogBytes: number;
  /** Active streams of one principal. */
  maxStreamsPerPrincipal: number;
}

/** Every stream there is. Ids live inside a principal: another's stream is not found. */
export interface Streams {
  /**
   * Starts a stream, or gives the one that this principal started with the same id and request. What
   * asks the same as one that is being generated shares that, unless its cache mode says otherwise.
   * Throws `conflict` when the request differs and `overloaded` past a bound.
   */
  start(identity: StreamIdentity, request: GenerateRequest): Stream;
  /** Throws `not_found`. */
  get(principal: string, id: string): Stream;
  has(principal: string, id: string): boolean;
  /** Whether the principal has any stream here, running or kept. */
  hasAny(principal: string): boolean;
  /**
   * Ends a stream with `cancelled` for all its readers, and the generation unless another stream shares
   * it; the text stays.
   */
  cancel(stream: Stream): void;
  /** The principal's streams that have not ended, oldest first. */
  running(principal: string): Stream[];
  /** Ends and forgets the streams of a principal that cannot come back. */
  forgetPrincipal(principal: string): void;
  /**
   * Takes no new stream from now on, and resolves when all have ended and were read; after `drainMs`
   * what still runs ends with `interrupted`.
   */
  drain(drainMs: number): Promise<void>;
  /** Ends every stream, and takes no new one. */
  close(): void;
}

interface Owned {
  stream: Stream;
  generation: Generation;
  /** Of the request, by which a repeated start is known; the request itself goes with its end. */
  fingerprint: string;
}

const CANCELLED: ErrorEntry = {
  type: 'error',
  code: 'cancelled',
  message: 'unable to finish the answer: it was cancelled',
};
const SHUT_DOWN: ErrorEntry = {
  type: 'error',
  code: 'interrupted',
  message: 'unable to finish the answer: the server is being shut down; ask again',
};
const OWN_MEMORY_USED: ErrorEntry = {
  type: 'error',
  code: 'overloaded',
  message:
    'unable to finish the answer: your answers use all the memory that one user may; ask again once others have ended',
  retryAfterMs: 1_000,
};
const MEMORY_USED: ErrorEntry = {
  type: 'error',
  code: 'overloaded',
  message: 'unable to finish the answer: the server is full; ask again soon',
  retryAfterMs: 1_000,
};
/** One principal may use this part of the memory budget. */
const PRINCIPAL_SHARE = 1 / 8;
const DRAIN_CHECK_MS = 50;
/** What was said last needs to be read, too. */
const LAST_WORDS_MS = 1_000;

export function createStreams(generate: Generate, limits: StreamLimits): Streams {
  const pace = new Pace();
  const byPrincipal = new Map<string, Map<string, Owned>>();
  /** What is being generated now, by the fingerprint of its request, which names the principal. */
  const flights = new Map<string, Generation>();
  const finished = new Map<Stream, NodeJS.Timeout>();
  const budget = createMemoryBudget();
  const maxPrincipalBytes = limits.maxLogBytes * PRINCIPAL_SHARE;
  let draining = false;

  function start(identity: StreamIdentity, request: GenerateRequest): Stream {
    const { principal, id } = identity;
    const body = JSON.stringify(request);
    const fingerprint = createHash('sha256').update(body).digest('base64');
    const known = byPrincipal.get(principal)?.get(id);
    if (known !== undefined) {
      if (known.fingerprint !== fingerprint) {
        throw new StreamError(
          'conflict',
          'unable to start the stream: its id is taken by another request; give each a new id',
        );
      }
      return known.stream;
    }
    const requestBytes = 2 * body.length;
    admit(principal, requestBytes);

    const isShared = (request.options?.cache ?? 'default') === 'default';
    const same = isShared ? flights.get(fingerprint) : undefined;
    const flight = same?.log.done ? undefined : same;
    const generation = flight ?? createGeneration(requestBytes, (stream) => end(stream, CANCELLED));
    const log = createBranch(generation.log);
    const stream = new Stream(identity, log, limits, pace, {
      onDetachedChange: () => generation.updatePreemption(),
      onAbandoned: () => end(stream, CANCELLED),
    });
    stream.setAhead(generation.ahead);
    generation.streams.add(stream);
    generation.updatePreemption();
    budget.hold(generation, principal);
    const own = byPrincipal.get(principal) ?? new Map<string, Owned>();
    byPrincipal.set(principal, own.set(id, { stream, generation, fingerprint }));
    if (flight === undefined) {
      if (isShared) flights.set(fingerprint, generation);
      void run(generation, request, fingerprint);
    }
    return stream;
  }

  async function run(
    generation: Generation,
    request: GenerateRequest,
    fingerprint: string,
  ): Promise<void> {
    await runGeneration(
      generation,
      generate,
      request,
      () => keepWithinBudget(generation),
      (failure) => mayRestart(generation, failure),
    );
    budget.update(generation);
    land(fingerprint, generation);
    for (const stream of generation.streams) finish(stream);
  }

  /**
   * A plain reader only concatenates, so a stream with one cannot begin its text again: it ends with the
   * failure and the text so far. @returns false if no other stream is left for a further attempt.
   */
  function mayRestart({ log, streams }: Generation, failure: StreamError): boolean {
    if (log.textLength === 0) return true;
    const plain = [...streams].filter((stream) => stream.hasPlainReader);
    if (plain.length === streams.size) return false;
    const { code, message, retryAfterMs } = failure;
    const retry = retryAfterMs !== undefined && { retryAfterMs };
    for (const stream of plain) end(stream, { type: 'error', code, message, ...retry });
    return true;
  }

  /** Who asks the same from now on is no part of this generation any more. */
  function land(fingerprint: string, generation: Generation): void {
    if (flights.get(fingerprint) === generation) flights.delete(fingerprint);
  }

  function finish(stream: Stream): void {
    if (finished.has(stream) || ownedOf(stream) === undefined) return;
    finished.set(stream, setTimeout(() => forget(stream), limits.finishedRetentionMs).unref());
  }

  function ownedOf(stream: Stream): Owned | undefined {
    const owned = byPrincipal.get(stream.principal)?.get(stream.id);
    return owned?.stream === stream ? owned : undefined;
  }

  function forget(stream: Stream, reason?: ErrorEntry): void {
    const owned = ownedOf(stream);
    clearTimeout(finished.get(stream));
    finished.delete(stream);
    stream.dispose(reason);
    if (owned === undefined) return;
    budget.release(owned.generation, stream.principal);
    const own = byPrincipal.get(stream.principal);
    own?.delete(stream.id);
    if (own?.size === 0) byPrincipal.delete(stream.principal);
  }

  function admit(principal: string, requestBytes: number): void {
    if (draining) throw overloaded('the server is being shut down');
    if (running(principal).length >= limits.maxStreamsPerPrincipal) {
      throw overloaded('too many of your answers are under way; wait for one to end');
    }
    if (!makeOwnRoom(principal, requestBytes)) {
      throw overloaded(
        'your answers use all the memory that one user may; try again once others have ended',
      );
    }
    const ownBytes = budget.heldBy(principal) + requestBytes;
    if (!makeRoom(requestBytes, ownBytes)) throw overloaded('the server is full; try again soon');
  }

  /** Counts what the generation's log has grown by, and ends streams where there is no room for it. */
  function keepWithinBudget(generation: Generation): void {
    budget.update(generation);
    for (const stream of generation.streams) {
      if (!makeOwnRoom(stream.principal, 0)) end(stream, OWN_MEMORY_USED);
    }
    makeRoom(0, 0);
  }

  /**
   * Drops finished streams of the principal, those with readers last, until it has room for `moreBytes`.
   * @returns false if there is no room.
   */
  function makeOwnRoom(principal: string, moreBytes: number): boolean {
    const hasRoom = (): boolean => budget.heldBy(principal) + moreBytes <= maxPrincipalBytes;
    return (
      hasRoom() ||
      drop(unread(finishedOf(principal)), hasRoom) ||
      drop(finishedOf(principal), hasRoom)
    );
  }

  /**
   * Drops finished streams without readers until there is room for `moreBytes`. If that is not enough, it
   * drops other streams of the principal that uses the most, as long as that is more than `ownBytes`.
   * Those of a smaller principal stay, so that a client that stops reading does not cost others theirs.
   * @returns false if there is no room.
   */
  function makeRoom(moreBytes: number, ownBytes: number): boolean {
    const hasRoom = (): boolean => budget.held + moreBytes <= limits.maxLogBytes;
    if (hasRoom() || drop(unread(finished.keys()), hasRoom)) return true;
    for (;;) {
      const heaviest = budget.heaviest();
      if (heaviest === undefined || budget.heldBy(heaviest) <= ownBytes) return false;
      const stream = finishedOf(heaviest)[0] ?? largestRunning(heaviest);
      if (stream === undefined) return false;
      const isRunning = !stream.log.done;
      end(stream, MEMORY_USED);
      forget(stream, isRunning ? MEMORY_USED : undefined);
      if (hasRoom()) return true;
    }
  }

  function* unread(streams: Iterable<Stream>): Generator<Stream> {
    for (const stream of streams) if (!stream.hasReaders) yield stream;
  }

  /** Drops streams in the order given. @returns true once there is room. */
  function drop(streams: Iterable<Stream>, hasRoom: () => boolean): boolean {
    for (const stream of streams) {
      forget(stream);
      if (hasRoom()) return true;
    }
    return false;
  }

  function finishedOf(principal: string): Stream[] {
    const own = [...(byPrincipal.get(principal)?.values() ?? [])];
    return own.map(({ stream }) => stream).filter((stream) => finished.has(stream));
  }

  function largestRunning(principal: string): Stream | undefined {
    let largest: Owned | undefined;
    for (const owned of byPrincipal.get(principal)?.values() ?? []) {
      if (owned.stream.log.done) continue;
      if (largest === undefined || bytesOf(owned) > bytesOf(largest)) largest = owned;
    }
    return largest?.stream;
  }

  function end(stream: Stream, entry: ErrorEntry): void {
    const owned = ownedOf(stream);
    const ended = stream.log.append(entry);
    if (!ended || owned === undefined) return;
    const { generation, fingerprint } = owned;
    finish(stream);
    generation.streams.delete(stream);
    if (generation.streams.size > 0) return generation.updatePreemption();
    land(fingerprint, generation);
    generation.controller.abort();
  }

  function running(principal: string): Stream[] {
    const own = [...(byPrincipal.get(principal)?.values() ?? [])];
    return own.map(({ stream }) => stream).filter((stream) => stream.status !== 'ended');
  }

  function forgetPrincipal(principal: string): void {
    for (const { stream } of byPrincipal.get(principal)?.values() ?? []) {
      end(stream, CANCELLED);
      forget(stream);
    }
  }

  function all(): Stream[] {
    return [...byPrincipal.values()].flatMap((own) => [...own.values()].map((o) => o.stream));
  }

  async function untilRead(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    const isOver = (): boolean =>
      performance.now() >= until || all().every((stream) => stream.log.done && !stream.hasReaders);
    if (isOver()) return;
    for await (const _ of setInterval(DRAIN_CHECK_MS)) if (isOver()) return;
  }

  return {
    start,
    cancel: (stream) => end(stream, CANCELLED),
    running,
    forgetPrincipal,
    has: (principal, id) => byPrincipal.get(principal)?.has(id) ?? false,
    hasAny: (principal) => byPrincipal.has(principal),
    get(principal, id) {
      const stream = byPrincipal.get(principal)?.get(id)?.stream;
      if (stream === undefined) {
        throw new StreamError(
          'not_found',
          'unable to find the stream: it is unknown or was dropped',
        );
      }
      return stream;
    },
    async drain(drainMs) {
      draining = true;
      await untilRead(drainMs);
      for (const stream of all()) end(stream, SHUT_DOWN);
      await untilRead(LAST_WORDS_MS);
    },
    close() {
      draining = true;
      for (const stream of all()) end(stream, SHUT_DOWN);
      // The readers flush first, which they do in this turn of the event loop.
      setImmediate(() => {
        for (const principal of byPrincipal.keys()) forgetPrincipal(principal);
      });
    },
  };
}

function bytesOf({ generation: { log, requestBytes } }: Owned): number {
  return log.bytes + requestBytes;
}

function overloaded(reason: string): StreamError {
  return new StreamError('overloaded', `unable to start the stream: ${reason}`, {
    retryAfterMs: 1_000,
  });
}
