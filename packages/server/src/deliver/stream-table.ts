import type { ErrorEntry } from '../entry.js';
import type { Generation } from './generation.js';
import type { LogView } from './log-view.js';
import { createMemoryBudget, type MemoryBudget } from './memory-budget.js';
import type { Stream } from './stream.js';

/** A stream, its view, and the generation that writes its text. */
export interface RegisteredStream {
  stream: Stream;
  view: LogView;
  generation: Generation;
  /** The fingerprint of the request that the client sent. A repeated start has the same one. */
  readonly fingerprint: string;
}

/** The streams of one principal. */
interface PrincipalStreams {
  readonly streams: Map<string, RegisteredStream>;
  /** The number of its finished streams. */
  finished: number;
}

type Listener = (stream: Stream) => void;

/** The streams of this process by principal and id, their memory, and the listeners to their changes. */
export class StreamTable {
  readonly budget: MemoryBudget = createMemoryBudget();
  readonly #retentionMs: number;
  readonly #byPrincipal = new Map<string, PrincipalStreams>();
  readonly #finished = new Map<Stream, NodeJS.Timeout>();
  readonly #watchers = new Map<string, Set<Listener>>();

  /** @param retentionMs the milliseconds for which a finished stream is kept. */
  constructor(retentionMs: number) {
    this.#retentionMs = retentionMs;
  }

  /** The number of readers of all streams. */
  get readers(): number {
    let readers = 0;
    for (const { streams } of this.#byPrincipal.values()) {
      for (const { stream } of streams.values()) readers += stream.readers;
    }
    return readers;
  }

  add(registered: RegisteredStream): void {
    const { principal, id } = registered.stream;
    this.#streamsOf(principal).streams.set(id, registered);
  }

  find(principal: string, id: string): RegisteredStream | undefined {
    return this.#byPrincipal.get(principal)?.streams.get(id);
  }

  /** @returns undefined if the stream was dropped. */
  get(stream: Stream): RegisteredStream | undefined {
    const registered = this.find(stream.principal, stream.id);
    return registered?.stream === stream ? registered : undefined;
  }

  /** @returns true if the principal has a running or finished stream in this process. */
  hasAny(principal: string): boolean {
    return this.#byPrincipal.has(principal);
  }

  /** @returns the number of the principal's streams that have not ended. */
  runningOf(principal: string): number {
    const owner = this.#byPrincipal.get(principal);
    return owner === undefined ? 0 : owner.streams.size - owner.finished;
  }

  /** The principal's streams, oldest first. */
  streamsOf(principal: string): Stream[] {
    const own = [...(this.#byPrincipal.get(principal)?.streams.values() ?? [])];
    return own.map(({ stream }) => stream);
  }

  principals(): Iterable<string> {
    return this.#byPrincipal.keys();
  }

  all(): Stream[] {
    return [...this.#byPrincipal.keys()].flatMap((principal) => this.streamsOf(principal));
  }

  /** @returns the streams that have ended and can still be read, oldest first. */
  finished(): Iterable<Stream> {
    return this.#finished.keys();
  }

  isFinished(stream: Stream): boolean {
    return this.#finished.has(stream);
  }

  /** @returns the principal's running stream that holds the most bytes. */
  largestRunning(principal: string): Stream | undefined {
    let largest: RegisteredStream | undefined;
    for (const registered of this.#byPrincipal.get(principal)?.streams.values() ?? []) {
      if (registered.stream.log.done) continue;
      if (largest === undefined || bytesOf(registered) > bytesOf(largest)) largest = registered;
    }
    return largest?.stream;
  }

  /** Keeps a stream that has ended for `retentionMs`; then calls `drop`. */
  finish(stream: Stream, drop: Listener): void {
    this.#streamsOf(stream.principal).finished += 1;
    const timer = setTimeout(() => drop(stream), this.#retentionMs).unref();
    this.#finished.set(stream, timer);
    this.notify(stream);
  }

  /** Drops a stream. Its readers receive `reason`, or the usual error. */
  remove(stream: Stream, reason: ErrorEntry | undefined): void {
    const registered = this.get(stream);
    clearTimeout(this.#finished.get(stream));
    const wasFinished = this.#finished.delete(stream);
    stream.dispose(reason);
    if (registered === undefined) return;
    this.budget.remove(registered.generation, stream.principal);
    const owner = this.#streamsOf(stream.principal);
    if (wasFinished) owner.finished -= 1;
    owner.streams.delete(stream.id);
    if (owner.streams.size === 0) this.#byPrincipal.delete(stream.principal);
  }

  /**
   * Calls `listener` when a stream of the principal has started, may have changed its status, or has ended.
   * @returns a function that removes the listener.
   */
  watch(principal: string, listener: Listener): () => void {
    const listeners = this.#watchers.get(principal) ?? new Set();
    this.#watchers.set(principal, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#watchers.get(principal) === listeners)
        this.#watchers.delete(principal);
    };
  }

  notify(stream: Stream): void {
    for (const listener of this.#watchers.get(stream.principal) ?? []) listener(stream);
  }

  #streamsOf(principal: string): PrincipalStreams {
    let owner = this.#byPrincipal.get(principal);
    if (owner === undefined) {
      owner = { streams: new Map(), finished: 0 };
      this.#byPrincipal.set(principal, owner);
    }
    return owner;
  }
}

function bytesOf({ generation: { log, requestBytes } }: RegisteredStream): number {
  return log.bytes + requestBytes;
}
