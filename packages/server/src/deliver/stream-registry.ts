import { randomUUID } from 'node:crypto';
import { setInterval, setTimeout as wait } from 'node:timers/promises';
import { StreamError } from '@rivulet/protocol';
import type { ErrorEntry, ResumedAnswer } from '../entry.js';
import type { PreparedRequest, StreamQuestion } from '../hooks.js';
import { type GenerateRequest, principalName } from '../request.js';
import { describeEnd, OnEndCalls } from './on-end-calls.js';
import { Eviction, type EvictionTarget, draining, overloaded } from './eviction.js';
import { type Generate, Generation, type GenerationListener } from './generation.js';
import type { LogStore } from './log-store.js';
import { createLogView } from './log-view.js';
import { bytesOfParsed } from './memory-budget.js';
import { FlushScheduler } from './flush-scheduler.js';
import { callPrepare, refusalEntry, type StreamHooks } from './prepare.js';
import { canonicalRequest, canShare, fingerprintOf, SingleFlight } from './single-flight.js';
import {
  type ListedStream,
  type StreamIdentity,
  type StreamListener,
  type StreamIds,
  type StreamTimeouts,
  Stream,
} from './stream.js';
import type { RegistrySize, StreamDirectory } from './stream-directory.js';
import { type RegisteredStream, StreamTable } from './stream-table.js';
import type { ToolReply } from '../tool-replies.js';

export interface StreamLimits extends StreamTimeouts {
  /** The milliseconds for which a finished stream can be read. */
  finishedRetentionMs: number;
  /** The memory budget of all streams in bytes. One principal may use an eighth of it. */
  maxLogBytes: number;
  /** The limit of active streams of one principal. */
  maxStreamsPerPrincipal: number;
}

export interface StreamRegistryOptions {
  /** True if identical requests of different principals also share a generation. False unless given. */
  isShared?: boolean;
  hooks?: StreamHooks;
  /** Stores the logs where other processes can read them. None unless given. */
  store?: LogStore;
}

/** A request, its JSON and its fingerprint. */
export interface IdentifiedRequest {
  readonly request: GenerateRequest;
  /** As JSON. */
  readonly body: string;
  /** Equal only for identical requests. */
  readonly fingerprint: string;
}

export const CANCELLED: ErrorEntry = {
  type: 'error',
  code: 'cancelled',
  message: 'unable to finish the answer: it was cancelled',
};
export const SHUT_DOWN: ErrorEntry = {
  type: 'error',
  code: 'interrupted',
  message: 'unable to finish the answer: the server is shutting down; ask again',
};
export const FORGOTTEN: ErrorEntry = {
  type: 'error',
  code: 'cancelled',
  message: 'unable to finish the answer: the data of this user was removed',
};
/** Pending calls of `onEnd` may hold this share of the memory budget. */
const ON_END_SHARE = 1 / 8;
const DRAIN_CHECK_MS = 50;
/** Gives readers time to receive the final entry. */
const FINAL_ENTRY_MS = 1_000;

/** The streams of this process. */
export class StreamRegistry implements StreamDirectory {
  readonly #generate: Generate;
  readonly #limits: StreamLimits;
  readonly #isShared: boolean;
  readonly #hooks: StreamHooks | undefined;
  readonly #onEndCalls: OnEndCalls | undefined;
  readonly #store: LogStore | undefined;
  readonly #scheduler = new FlushScheduler();
  readonly #table: StreamTable;
  readonly #singleFlight = new SingleFlight();
  readonly #eviction: Eviction;
  readonly #streamListener: StreamListener = {
    onDetachedChange: (stream) => this.#table.get(stream)?.generation.updatePreemption(),
    onStatusChange: (stream) => this.#table.notify(stream),
    onAbandoned: (stream) => this.#abandon(stream),
    onReaderChange: (stream, id, change) => {
      this.#store?.onReaderChange(stream, id, change);
    },
  };
  readonly #generationListener: GenerationListener = {
    onGrowth: (generation) => this.#eviction.makeRoomFor(generation),
    onStatusChange: (stream) => this.#table.notify(stream),
    isDetached: (stream) => this.#store?.isDetached(stream) ?? stream.isDetached,
    onPreempt: (stream) => this.cancel(stream),
    onPausedChange: (generation) => this.#store?.onPausedChange(generation),
    onCallTimeout: (generation, callId) => this.#store?.onCallTimeout(generation, callId),
    onRewind: (generation, offset) => {
      for (const stream of generation.streams) {
        this.#table.get(stream)?.view.follow(generation.log);
        stream.rewind(offset);
      }
    },
    mayRestart: (generation, failure) => this.#mayRestart(generation, failure),
  };
  #isDraining = false;

  constructor(
    generate: Generate,
    limits: StreamLimits,
    { isShared = false, hooks, store }: StreamRegistryOptions = {},
  ) {
    this.#generate = generate;
    this.#limits = limits;
    this.#isShared = isShared;
    this.#hooks = hooks;
    this.#store = store;
    this.#onEndCalls = hooks?.onEnd && new OnEndCalls(hooks.onEnd, hooks.logger);
    const table = new StreamTable(limits.finishedRetentionMs);
    this.#table = table;
    const target: EvictionTarget = {
      finished: () => table.finished(),
      finishedOf: (principal) =>
        table.streamsOf(principal).filter((stream) => table.isFinished(stream)),
      largestRunning: (principal) => table.largestRunning(principal),
      end: (stream, entry) => this.end(stream, entry),
      forget: (stream, reason) => this.drop(stream, reason),
    };
    this.#eviction = new Eviction(table.budget, limits.maxLogBytes, target);
  }

  start(identity: StreamIdentity, request: GenerateRequest, connectionId?: string): Stream {
    const identified = this.identify(request);
    const known = this.known(identity, identified);
    if (known !== undefined) return known;
    this.admit(identity.principal, identified);
    if (this.#hooks?.prepare === undefined) {
      const { fingerprint } = identified;
      const shared = this.#singleFlight.find(request, fingerprint);
      const requestId = randomUUID();
      const names = { requestId, answerId: shared?.requestId ?? requestId };
      if (shared !== undefined) return this.join(shared, identity, names, fingerprint).stream;
    }
    return this.begin(identity, identified, connectionId);
  }

  /** @returns the request with its JSON and its fingerprint. */
  identify(request: GenerateRequest): IdentifiedRequest {
    const asked = canonicalRequest(request);
    const body = JSON.stringify(this.#isShared ? { ...asked, principal: undefined } : asked);
    return { request, body, fingerprint: fingerprintOf(body) };
  }

  /**
   * @returns the stream of this process that the principal started with the same id and request.
   * @throws {StreamError} conflict, if the request differs.
   */
  known({ principal, id }: StreamIdentity, { fingerprint }: IdentifiedRequest): Stream | undefined {
    const known = this.#table.find(principal, id);
    if (known === undefined || known.fingerprint === fingerprint) return known?.stream;
    throw conflict();
  }

  /** @throws {StreamError} overloaded, if this process has no room for a new stream. */
  admit(principal: string, { request, body }: IdentifiedRequest): void {
    if (this.#isDraining) throw draining();
    if (this.#table.runningOf(principal) >= this.#limits.maxStreamsPerPrincipal) {
      throw overloaded('too many of your answers are under way; wait for one to end');
    }
    if ((this.#onEndCalls?.bytes ?? 0) > this.#limits.maxLogBytes * ON_END_SHARE) {
      throw overloaded('the server is still storing earlier answers; try again soon');
    }
    this.#eviction.admit(principal, requestBytesOf(request, body));
  }

  /** Starts a stream with its own generation. `onCreated` is called before anything is generated. */
  begin(
    identity: StreamIdentity,
    identified: IdentifiedRequest,
    connectionId: string | undefined,
    given: Partial<StreamIds> = {},
    onCreated?: (stream: Stream, generation: Generation) => void,
  ): Stream {
    const { request, body, fingerprint } = identified;
    const requestId = given.requestId ?? randomUUID();
    const generation = this.createGeneration(request, requestBytesOf(request, body), requestId);
    const names = { ...given, requestId, answerId: requestId };
    const registered = this.join(generation, identity, names, fingerprint);
    onCreated?.(registered.stream, generation);
    if (this.#hooks?.prepare !== undefined) {
      void this.prepareAndRun(registered, request, body, connectionId);
    } else {
      this.#singleFlight.add(request, fingerprint, generation);
      void this.run(generation, request, undefined, connectionId);
    }
    return registered.stream;
  }

  createGeneration(
    request: GenerateRequest | undefined,
    requestBytes: number,
    requestId: string,
  ): Generation {
    return new Generation(request, requestBytes, requestId, this.#generationListener);
  }

  /** Adds a stream that reads the log of `generation`. */
  join(
    generation: Generation,
    identity: StreamIdentity,
    names: StreamIds,
    fingerprint: string,
  ): RegisteredStream {
    const view = createLogView(generation.log);
    const stream = new Stream(
      identity,
      view,
      this.#limits,
      this.#scheduler,
      this.#streamListener,
      names,
    );
    const registered: RegisteredStream = { stream, view, generation, fingerprint };
    this.#table.add(registered);
    this.#join(registered, generation);
    this.#table.notify(stream);
    return registered;
  }

  get(principal: string, id: string): Stream {
    const registered = this.find(principal, id);
    if (registered !== undefined) return registered.stream;
    throw notFound();
  }

  /** @returns the stream; undefined if it is not in this process. */
  find(principal: string, id: string): RegisteredStream | undefined {
    return this.#table.find(principal, id);
  }

  has(principal: string, id: string): boolean {
    return this.#table.find(principal, id) !== undefined;
  }

  get size(): RegistrySize {
    return { readers: this.#table.readers, logBytes: this.#table.budget.usedBytes };
  }

  hasAny(principal: string): boolean {
    return this.#table.hasAny(principal);
  }

  cancel(stream: Stream): void {
    this.end(stream, CANCELLED);
  }

  reply({ principal, id }: Stream, callId: string, reply: ToolReply): void {
    const registered = this.#table.find(principal, id);
    if (registered === undefined) throw notFound();
    registered.generation.calls.reply(callId, reply);
  }

  watch(principal: string, listener: (stream: ListedStream) => void): () => void {
    return this.#table.watch(principal, listener);
  }

  running(principal: string): Stream[] {
    return this.#table.streamsOf(principal).filter((stream) => stream.status !== 'ended');
  }

  forgetPrincipal(principal: string): void {
    this.#dropAll(principal, CANCELLED);
  }

  forget(principal: string): Promise<void> | undefined {
    this.#dropAll(principal, FORGOTTEN);
    return this.#onEndCalls?.settled(principal);
  }

  /** Calls `handOver` after `drainMs`. It resolves with true if other processes continue the running streams. */
  async drain(drainMs: number, handOver?: () => Promise<boolean>): Promise<void> {
    const until = performance.now() + drainMs;
    this.#isDraining = true;
    await this.#untilRead(drainMs);
    const isHandedOver = handOver !== undefined && (await handOver());
    for (const stream of isHandedOver ? [] : this.#table.all()) {
      this.end(stream, SHUT_DOWN);
      // A generation may have ended in this turn of the event loop.
      this.finish(stream);
    }
    const remainingMs = Math.max(FINAL_ENTRY_MS, until - performance.now());
    await Promise.all([
      this.#untilRead(FINAL_ENTRY_MS),
      Promise.race([this.#onEndCalls?.settled(), wait(remainingMs, undefined, { ref: false })]),
    ]);
  }

  close(): void {
    this.#isDraining = true;
    for (const stream of this.#table.all()) this.end(stream, SHUT_DOWN);
    // The readers flush first, in this turn of the event loop.
    setImmediate(() => {
      for (const principal of this.#table.principals()) this.forgetPrincipal(principal);
    });
  }

  /**
   * Calls `prepare`, and runs the generation of `registered`. No other stream shares the generation until then.
   */
  async prepareAndRun(
    registered: RegisteredStream,
    request: GenerateRequest,
    body: string,
    connectionId: string | undefined,
    resumed?: ResumedAnswer,
  ): Promise<void> {
    const { stream, generation } = registered;
    let prepared: PreparedRequest;
    try {
      const question = questionOf(stream, request);
      prepared = await callPrepare(this.#hooks!, question, generation.signal);
    } catch (cause) {
      return this.end(stream, refusalEntry(cause));
    }
    if (stream.log.done) return;
    const changes = JSON.stringify(prepared);
    const fingerprint = fingerprintOf(`${body}\n${changes}`);
    const found = this.#findFlight(registered, request, fingerprint);
    // Without a store, there is no `await` before the generation is added.
    const running = found instanceof Promise ? await found : found;
    if (stream.log.done) return;
    if (running !== undefined) return this.move(registered, running);
    generation.requestBytes += 2 * changes.length;
    this.#eviction.makeRoomFor(generation);
    if (stream.log.done) return;
    this.#singleFlight.add(request, fingerprint, generation);
    await this.run(generation, request, prepared, connectionId, resumed);
  }

  /** Lets a stream share `generation`. Its own log must be empty. */
  move(registered: RegisteredStream, generation: Generation): void {
    const { stream, view } = registered;
    this.#leave(registered);
    registered.generation = generation;
    view.follow(generation.log);
    this.#join(registered, generation);
    if (stream.log.done) this.finish(stream);
  }

  /** Generates until the log of `generation` has a terminal entry, or another process writes the log. */
  async run(
    generation: Generation,
    request: GenerateRequest,
    prepared: PreparedRequest | undefined,
    connectionId: string | undefined,
    resumed?: ResumedAnswer,
  ): Promise<void> {
    const writer = this.#store?.createWriter(generation, prepared);
    const generate = this.#generate;
    await generation.run(generate, request, connectionId, prepared, writer, resumed);
    if (writer !== undefined && !(await writer.settle())) return;
    this.finishAll(generation);
  }

  /** Called when the log of `generation` has a terminal entry. */
  finishAll(generation: Generation): void {
    this.#table.budget.update(generation);
    this.#singleFlight.remove(generation);
    for (const stream of generation.streams) this.finish(stream);
    generation.request = undefined;
  }

  /** @returns the running generation that a prepared request can share; undefined if there is none. */
  #findFlight(
    { stream, generation }: RegisteredStream,
    request: GenerateRequest,
    fingerprint: string,
  ): Promise<Generation | undefined> | Generation | undefined {
    if (this.#store !== undefined) {
      if (!canShare(request)) return undefined;
      return this.#store.findFlight(stream, generation, fingerprint);
    }
    const running = this.#singleFlight.find(request, fingerprint);
    // A plain reader has received the first attempt as the beginning of the stream.
    return (running?.log.start?.attempt ?? 1) === 1 ? running : undefined;
  }

  #join({ stream }: RegisteredStream, generation: Generation): void {
    generation.streams.add(stream);
    generation.updatePreemption();
    stream.setNews(generation.news);
    stream.setPaused(generation.calls.isPaused);
    this.#table.budget.add(generation, stream.principal);
  }

  #leave({ stream, generation }: RegisteredStream): void {
    generation.streams.delete(stream);
    this.#table.budget.remove(generation, stream.principal);
  }

  /**
   * A plain reader only concatenates, so its stream cannot restart its text: the stream ends with the failure
   * and the text so far.
   * @returns false if no other stream is left for a further attempt.
   */
  #mayRestart({ hasText, streams }: Generation, failure: StreamError): boolean {
    if (!hasText) return true;
    const plain = [...streams].filter((stream) => stream.hasPlainReader);
    if (plain.length === streams.size) return false;
    const { code, message, retryAfterMs } = failure;
    const retry = retryAfterMs !== undefined && { retryAfterMs };
    for (const stream of plain) this.end(stream, { type: 'error', code, message, ...retry });
    return true;
  }

  /** Ends a stream with `entry`, at `offset` if given. Does nothing if the stream has ended. */
  end(stream: Stream, entry: ErrorEntry, offset: number = Infinity): void {
    const registered = this.#table.get(stream);
    const ended = registered?.view.endAt(offset, entry) ?? stream.log.append(entry);
    if (!ended || registered === undefined) return;
    const { generation } = registered;
    this.finish(stream);
    this.#store?.onEnd(stream, entry);
    generation.streams.delete(stream);
    if (generation.streams.size > 0) return generation.updatePreemption();
    if (this.#store?.isShared(generation) === true) return;
    this.#singleFlight.remove(generation);
    generation.abort(entry);
  }

  /** Called when the log of the stream has a terminal entry. */
  finish(stream: Stream): void {
    const registered = this.#table.get(stream);
    if (this.#table.isFinished(stream) || registered === undefined) return;
    this.#callOnEnd(registered);
    this.#table.finish(stream, (finished) => this.drop(finished));
  }

  /** Removes a stream from memory. Its readers receive `reason`, or the usual error. */
  drop(stream: Stream, reason?: ErrorEntry): void {
    // Its generation may have ended in this turn of the event loop.
    if (stream.log.done) this.finish(stream);
    const registered = this.#table.get(stream);
    this.#table.remove(stream, reason);
    if (registered === undefined) return;
    registered.generation.streams.delete(stream);
    this.#store?.onRemoved(stream, registered.generation);
  }

  #abandon(stream: Stream): void {
    if (this.#store === undefined) this.cancel(stream);
    else this.#store.onAbandoned(stream);
  }

  #callOnEnd({ stream, generation: { request, requestBytes, usage } }: RegisteredStream): void {
    if (this.#onEndCalls === undefined || request === undefined) return;
    const totalMs = Math.round(performance.now() - stream.startedAt);
    const ended = describeEnd(questionOf(stream, request), stream.log, usage, totalMs);
    this.#onEndCalls.add(ended, stream.principal, requestBytes);
  }

  #dropAll(principal: string, reason: ErrorEntry): void {
    for (const stream of this.#table.streamsOf(principal)) {
      this.end(stream, reason);
      this.drop(stream, reason);
    }
  }

  async #untilRead(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    const isOver = (): boolean =>
      performance.now() >= until ||
      this.#table.all().every((stream) => stream.log.done && !stream.hasReaders);
    if (isOver()) return;
    for await (const _ of setInterval(DRAIN_CHECK_MS)) if (isOver()) return;
  }
}

/** @returns the question of the stream, with a copy of the request. */
function questionOf(stream: Stream, request: GenerateRequest): StreamQuestion {
  const { principal: _, fairnessKey: __, ...asked } = structuredClone(request);
  return {
    principal: principalName(stream.principal),
    streamId: stream.id,
    ...(stream.sessionId !== undefined && { sessionId: stream.sessionId }),
    request: asked,
  };
}

/**
 * @returns an estimate of the request's bytes in memory. Only JSON Schemas need more memory than their text.
 */
export function requestBytesOf({ clientTools, options }: GenerateRequest, body: string): number {
  const hasSchema = clientTools !== undefined || options?.response_schema !== undefined;
  return hasSchema ? bytesOfParsed(body) : 2 * body.length;
}

export function conflict(): StreamError {
  return new StreamError(
    'conflict',
    'unable to start the stream: another request has its id; give each request a new id',
  );
}

export function notFound(): StreamError {
  return new StreamError(
    'not_found',
    'unable to find the stream: it is unknown or was dropped; ask again',
  );
}
