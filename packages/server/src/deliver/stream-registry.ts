import { randomUUID } from 'node:crypto';
import { setInterval, setTimeout as wait } from 'node:timers/promises';
import { StreamError } from '@rivulet/protocol';
import type { ErrorEntry } from '../entry.js';
import type { PreparedRequest, StreamQuestion } from '../hooks.js';
import { type GenerateRequest, principalName } from '../request.js';
import { describeEnd, EndReports } from './end-reports.js';
import { Eviction, type EvictionTarget, overloaded } from './eviction.js';
import { type Generate, Generation, type GenerationListener } from './generation.js';
import { createLogView, type LogView } from './log-view.js';
import { createMemoryBudget } from './memory-budget.js';
import { Pace } from './pace.js';
import { callPrepare, refusalEntry, type StreamHooks } from './prepare.js';
import { fingerprintOf, SingleFlight } from './single-flight.js';
import { type StreamTimeouts, Stream, type StreamIdentity } from './stream.js';

export interface StreamLimits extends StreamTimeouts {
  /** A finished stream can be read for this long. */
  finishedRetentionMs: number;
  /** The memory budget of all streams; one principal may use an eighth of it. */
  maxLogBytes: number;
  /** Active streams of one principal. */
  maxStreamsPerPrincipal: number;
}

export interface RegistrySize {
  /** Readers of all streams. */
  readers: number;
  /** Bytes of the memory budget that are used. */
  logBytes: number;
}

export interface StreamRegistryOptions {
  /** True if identical requests of different principals share a generation, too. False unless given. */
  isShared?: boolean;
  hooks?: StreamHooks;
}

interface Owned {
  stream: Stream;
  view: LogView;
  generation: Generation;
  /** Of the request as the client sent it, by which a repeated start is known. */
  readonly fingerprint: string;
}

/** The streams of one principal. */
interface Owner {
  readonly streams: Map<string, Owned>;
  /** Those that have ended. */
  finished: number;
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
const FORGOTTEN: ErrorEntry = {
  type: 'error',
  code: 'cancelled',
  message: 'unable to finish the answer: the data of this user was removed',
};
/** `onEnd` may hold this part of the memory budget. */
const REPORTS_SHARE = 1 / 8;
const DRAIN_CHECK_MS = 50;
/** Gives readers time to receive the final entry. */
const FINAL_ENTRY_MS = 1_000;

/** All streams. Ids live inside a principal: another principal's stream is not found. */
export class StreamRegistry {
  readonly #generate: Generate;
  readonly #limits: StreamLimits;
  readonly #isShared: boolean;
  readonly #hooks: StreamHooks | undefined;
  readonly #reports: EndReports | undefined;
  readonly #pace = new Pace();
  readonly #byPrincipal = new Map<string, Owner>();
  readonly #finished = new Map<Stream, NodeJS.Timeout>();
  readonly #watchers = new Map<string, Set<(stream: Stream) => void>>();
  readonly #singleFlight = new SingleFlight();
  readonly #budget = createMemoryBudget();
  readonly #eviction: Eviction;
  readonly #streamListener = {
    onDetachedChange: (stream: Stream): void =>
      this.#ownedOf(stream)?.generation.updatePreemption(),
    onStatusChange: (stream: Stream): void => this.#notify(stream),
    onAbandoned: (stream: Stream): void => this.cancel(stream),
  };
  readonly #generationListener: GenerationListener = {
    onGrowth: (generation) => this.#eviction.makeRoomFor(generation),
    onStatusChange: (stream) => this.#notify(stream),
    onPreempt: (stream) => this.cancel(stream),
    mayRestart: (generation, failure) => this.#mayRestart(generation, failure),
  };
  #isDraining = false;

  constructor(
    generate: Generate,
    limits: StreamLimits,
    { isShared = false, hooks }: StreamRegistryOptions = {},
  ) {
    this.#generate = generate;
    this.#limits = limits;
    this.#isShared = isShared;
    this.#hooks = hooks;
    this.#reports = hooks?.onEnd && new EndReports(hooks.onEnd, hooks.logger);
    const target: EvictionTarget = {
      finished: () => this.#finished.keys(),
      finishedOf: (principal) =>
        this.#streamsOf(principal).filter((stream) => this.#finished.has(stream)),
      largestRunning: (principal) => this.#largestRunning(principal),
      end: (stream, entry) => this.#end(stream, entry),
      forget: (stream, reason) => this.#forget(stream, reason),
    };
    this.#eviction = new Eviction(this.#budget, limits.maxLogBytes, target);
  }

  /**
   * Starts a stream, or gives the one that this principal started with the same id and request. Identical
   * requests at the same time share one generation, unless their cache mode says otherwise. With a
   * `prepare` hook, they do so once it has prepared them, and only if it prepared them alike.
   *
   * @param connectionId names the connection that asks in the log.
   * @throws {StreamError} conflict, if the request differs; overloaded, past a bound.
   */
  start(identity: StreamIdentity, request: GenerateRequest, connectionId?: string): Stream {
    const { principal, id } = identity;
    // What a client left out changes nothing of the answer.
    const asked = { ...request, omittedMessages: undefined };
    const body = JSON.stringify(this.#isShared ? { ...asked, principal: undefined } : asked);
    const fingerprint = fingerprintOf(body);
    const known = this.#byPrincipal.get(principal)?.streams.get(id);
    if (known !== undefined) {
      if (known.fingerprint === fingerprint) return known.stream;
      throw new StreamError(
        'conflict',
        'unable to start the stream: its id is taken by another request; give each a new id',
      );
    }
    const requestBytes = 2 * body.length;
    this.#admit(principal, requestBytes);

    const isPrepared = this.#hooks?.prepare !== undefined;
    const shared = isPrepared ? undefined : this.#singleFlight.find(request, fingerprint);
    const requestId = randomUUID();
    const generation =
      shared ?? new Generation(request, requestBytes, requestId, this.#generationListener);
    const view = createLogView(generation.log);
    const ids = { requestId, answerId: generation.requestId };
    const stream = new Stream(identity, view, this.#limits, this.#pace, this.#streamListener, ids);
    const owned: Owned = { stream, view, generation, fingerprint };
    this.#ownerOf(principal).streams.set(id, owned);
    this.#join(owned, generation);
    if (shared === undefined && isPrepared) {
      void this.#prepareAndRun(owned, request, body, connectionId);
    } else if (shared === undefined) {
      this.#singleFlight.add(request, fingerprint, generation);
      void this.#run(generation, request, undefined, connectionId);
    }
    this.#notify(stream);
    return stream;
  }

  /** @throws {StreamError} not_found. */
  get(principal: string, id: string): Stream {
    const owned = this.#byPrincipal.get(principal)?.streams.get(id);
    if (owned !== undefined) return owned.stream;
    throw new StreamError('not_found', 'unable to find the stream: it is unknown or was dropped');
  }

  has(principal: string, id: string): boolean {
    return this.#byPrincipal.get(principal)?.streams.has(id) ?? false;
  }

  /** What the streams take at the moment. */
  get size(): RegistrySize {
    let readers = 0;
    for (const { streams } of this.#byPrincipal.values()) {
      for (const { stream } of streams.values()) readers += stream.readers;
    }
    return { readers, logBytes: this.#budget.held };
  }

  /** @returns true if the principal has a stream here, running or kept. */
  hasAny(principal: string): boolean {
    return this.#byPrincipal.has(principal);
  }

  /**
   * Ends a stream with `cancelled` for all its readers, and the generation unless another stream shares
   * it; the text stays.
   */
  cancel(stream: Stream): void {
    this.#end(stream, CANCELLED);
  }

  /**
   * Calls `listener` when a stream of the principal was started, when its status may have changed, and when
   * it has ended. @returns a function that ends this.
   */
  watch(principal: string, listener: (stream: Stream) => void): () => void {
    const listeners = this.#watchers.get(principal) ?? new Set();
    this.#watchers.set(principal, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#watchers.get(principal) === listeners)
        this.#watchers.delete(principal);
    };
  }

  /** The principal's streams that have not ended, oldest first. */
  running(principal: string): Stream[] {
    return this.#streamsOf(principal).filter((stream) => stream.status !== 'ended');
  }

  /** Ends and forgets the streams of a principal that cannot come back. */
  forgetPrincipal(principal: string): void {
    this.#dropAll(principal, CANCELLED);
  }

  /**
   * Ends and removes the streams of a principal, running and kept, at once.
   *
   * @returns a promise that resolves when the calls of `onEnd` for the principal have returned.
   */
  forget(principal: string): Promise<void> | undefined {
    this.#dropAll(principal, FORGOTTEN);
    return this.#reports?.settled(principal);
  }

  /**
   * Takes no new stream from now on, and resolves when all have ended and were read, and `onEnd` has
   * returned for all of them. After `drainMs` what still runs ends with `interrupted`; readers and calls of
   * `onEnd` have one second after that.
   */
  async drain(drainMs: number): Promise<void> {
    const until = performance.now() + drainMs;
    this.#isDraining = true;
    await this.#untilRead(drainMs);
    for (const stream of this.#all()) {
      this.#end(stream, SHUT_DOWN);
      // A generation may have ended in this turn of the event loop.
      this.#finish(stream);
    }
    const remainingMs = Math.max(FINAL_ENTRY_MS, until - performance.now());
    await Promise.all([
      this.#untilRead(FINAL_ENTRY_MS),
      Promise.race([this.#reports?.settled(), wait(remainingMs, undefined, { ref: false })]),
    ]);
  }

  /** Ends every stream, and takes no new one. */
  close(): void {
    this.#isDraining = true;
    for (const stream of this.#all()) this.#end(stream, SHUT_DOWN);
    // The readers flush first, which they do in this turn of the event loop.
    setImmediate(() => {
      for (const principal of this.#byPrincipal.keys()) this.forgetPrincipal(principal);
    });
  }

  /** The generation of `owned` has no other stream until it runs. */
  async #prepareAndRun(
    owned: Owned,
    request: GenerateRequest,
    body: string,
    connectionId: string | undefined,
  ): Promise<void> {
    const { stream, generation } = owned;
    let prepared: PreparedRequest;
    try {
      const question = questionOf(stream, request);
      prepared = await callPrepare(this.#hooks!, question, generation.signal);
    } catch (cause) {
      return this.#end(stream, refusalEntry(cause));
    }
    if (stream.log.done) return;
    const changes = JSON.stringify(prepared);
    const fingerprint = fingerprintOf(`${body}\n${changes}`);
    const running = this.#singleFlight.find(request, fingerprint);
    // A plain reader has been told that the stream begins with the first attempt.
    if (running !== undefined && (running.log.start?.attempt ?? 1) === 1) {
      this.#leave(owned);
      owned.generation = running;
      owned.view.follow(running.log);
      return this.#join(owned, running);
    }
    generation.requestBytes += 2 * changes.length;
    this.#eviction.makeRoomFor(generation);
    if (stream.log.done) return;
    this.#singleFlight.add(request, fingerprint, generation);
    await this.#run(generation, request, prepared, connectionId);
  }

  async #run(
    generation: Generation,
    request: GenerateRequest,
    prepared: PreparedRequest | undefined,
    connectionId: string | undefined,
  ): Promise<void> {
    await generation.run(this.#generate, request, connectionId, prepared);
    this.#budget.update(generation);
    this.#singleFlight.remove(generation);
    for (const stream of generation.streams) this.#finish(stream);
    generation.request = undefined;
  }

  #join({ stream }: Owned, generation: Generation): void {
    generation.streams.add(stream);
    generation.updatePreemption();
    stream.setNews(generation.news);
    this.#budget.hold(generation, stream.principal);
  }

  #leave({ stream, generation }: Owned): void {
    generation.streams.delete(stream);
    this.#budget.release(generation, stream.principal);
  }

  /**
   * A plain reader only concatenates, so a stream with one cannot begin its text again: it ends with the
   * failure and the text so far. @returns false if no other stream is left for a further attempt.
   */
  #mayRestart({ log, streams }: Generation, failure: StreamError): boolean {
    if (log.textLength === 0) return true;
    const plain = [...streams].filter((stream) => stream.hasPlainReader);
    if (plain.length === streams.size) return false;
    const { code, message, retryAfterMs } = failure;
    const retry = retryAfterMs !== undefined && { retryAfterMs };
    for (const stream of plain) this.#end(stream, { type: 'error', code, message, ...retry });
    return true;
  }

  #admit(principal: string, requestBytes: number): void {
    if (this.#isDraining) throw overloaded('the server is being shut down');
    const owner = this.#byPrincipal.get(principal);
    const running = owner === undefined ? 0 : owner.streams.size - owner.finished;
    if (running >= this.#limits.maxStreamsPerPrincipal) {
      throw overloaded('too many of your answers are under way; wait for one to end');
    }
    if ((this.#reports?.bytes ?? 0) > this.#limits.maxLogBytes * REPORTS_SHARE) {
      throw overloaded('the server is still storing earlier answers; try again soon');
    }
    this.#eviction.admit(principal, requestBytes);
  }

  #end(stream: Stream, entry: ErrorEntry): void {
    const owned = this.#ownedOf(stream);
    const ended = stream.log.append(entry);
    if (!ended || owned === undefined) return;
    const { generation } = owned;
    this.#finish(stream);
    generation.streams.delete(stream);
    if (generation.streams.size > 0) return generation.updatePreemption();
    this.#singleFlight.remove(generation);
    generation.abort(entry);
  }

  /** To be called when the log of the stream has its end. */
  #finish(stream: Stream): void {
    const owned = this.#ownedOf(stream);
    if (this.#finished.has(stream) || owned === undefined) return;
    this.#report(owned);
    this.#ownerOf(stream.principal).finished += 1;
    const { finishedRetentionMs } = this.#limits;
    const timer = setTimeout(() => this.#forget(stream), finishedRetentionMs).unref();
    this.#finished.set(stream, timer);
    this.#notify(stream);
  }

  #notify(stream: Stream): void {
    for (const listener of this.#watchers.get(stream.principal) ?? []) listener(stream);
  }

  #report({ stream, generation: { request, requestBytes } }: Owned): void {
    if (this.#reports === undefined || request === undefined) return;
    const totalMs = Math.round(performance.now() - stream.startedAt);
    const ended = describeEnd(questionOf(stream, request), stream.log, totalMs);
    this.#reports.add(ended, stream.principal, requestBytes);
  }

  #dropAll(principal: string, reason: ErrorEntry): void {
    for (const stream of this.#streamsOf(principal)) {
      this.#end(stream, reason);
      this.#forget(stream, reason);
    }
  }

  #forget(stream: Stream, reason?: ErrorEntry): void {
    // Its generation may have ended in this turn of the event loop.
    if (stream.log.done) this.#finish(stream);
    const owned = this.#ownedOf(stream);
    clearTimeout(this.#finished.get(stream));
    const wasFinished = this.#finished.delete(stream);
    stream.dispose(reason);
    if (owned === undefined) return;
    this.#budget.release(owned.generation, stream.principal);
    const owner = this.#ownerOf(stream.principal);
    if (wasFinished) owner.finished -= 1;
    owner.streams.delete(stream.id);
    if (owner.streams.size === 0) this.#byPrincipal.delete(stream.principal);
  }

  #ownerOf(principal: string): Owner {
    let owner = this.#byPrincipal.get(principal);
    if (owner === undefined) {
      owner = { streams: new Map(), finished: 0 };
      this.#byPrincipal.set(principal, owner);
    }
    return owner;
  }

  #ownedOf(stream: Stream): Owned | undefined {
    const owned = this.#byPrincipal.get(stream.principal)?.streams.get(stream.id);
    return owned?.stream === stream ? owned : undefined;
  }

  #streamsOf(principal: string): Stream[] {
    const own = [...(this.#byPrincipal.get(principal)?.streams.values() ?? [])];
    return own.map(({ stream }) => stream);
  }

  #all(): Stream[] {
    return [...this.#byPrincipal.keys()].flatMap((principal) => this.#streamsOf(principal));
  }

  #largestRunning(principal: string): Stream | undefined {
    let largest: Owned | undefined;
    for (const owned of this.#byPrincipal.get(principal)?.streams.values() ?? []) {
      if (owned.stream.log.done) continue;
      if (largest === undefined || bytesOf(owned) > bytesOf(largest)) largest = owned;
    }
    return largest?.stream;
  }

  async #untilRead(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    const isOver = (): boolean =>
      performance.now() >= until ||
      this.#all().every((stream) => stream.log.done && !stream.hasReaders);
    if (isOver()) return;
    for await (const _ of setInterval(DRAIN_CHECK_MS)) if (isOver()) return;
  }
}

/** @returns the question, with a copy of the request. */
function questionOf(stream: Stream, request: GenerateRequest): StreamQuestion {
  const { principal: _, ...asked } = structuredClone(request);
  return {
    principal: principalName(stream.principal),
    streamId: stream.id,
    ...(stream.sessionId !== undefined && { sessionId: stream.sessionId }),
    request: asked,
  };
}

function bytesOf({ generation: { log, requestBytes } }: Owned): number {
  return log.bytes + requestBytes;
}
