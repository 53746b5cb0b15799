import type { GenerateRequest } from '../request.js';
import type { ToolReply } from '../tool-replies.js';
import type { ListedStream, Stream, StreamIdentity } from './stream.js';

type Awaitable<T> = T | Promise<T>;

export interface RegistrySize {
  /** Readers of all streams. */
  readers: number;
  /** Bytes of the memory budget that are used. */
  logBytes: number;
}

/** Counts what is spent, for all processes that share it. */
export interface SharedCounts {
  /**
   * Adds one to each counter; a counter is 0 again after its window.
   * @returns the counts, and the milliseconds until they are 0 again; undefined if they cannot be shared now.
   */
  spend(
    counters: readonly { name: string; windowMs: number }[],
  ): Promise<readonly { count: number; msLeft: number }[] | undefined>;
  forget(names: readonly string[]): Promise<void>;
}

/**
 * The streams that a server knows. Ids live inside a principal: another principal's stream is not found.
 * The streams are those of this process, or those of all processes that share a Redis. Only the latter
 * takes time, so only the latter returns promises.
 */
export interface StreamDirectory {
  /** What the streams of this process take at the moment. */
  readonly size: RegistrySize;
  /** Present if the directory is shared by several processes. */
  readonly counts?: SharedCounts;
  /**
   * Starts a stream, or gives the one that this principal started with the same id and request. Identical
   * requests at the same time share one generation, unless their cache mode says otherwise. With a
   * `prepare` hook, they do so once it has prepared them, and only if it prepared them alike.
   *
   * @param connectionId names the connection that asks in the log.
   * @throws {StreamError} conflict, if the request differs; overloaded, past a bound.
   */
  start(
    identity: StreamIdentity,
    request: GenerateRequest,
    connectionId?: string,
  ): Awaitable<Stream>;
  /** @throws {StreamError} not_found. */
  get(principal: string, id: string): Awaitable<Stream>;
  /** @returns true if a start with this id would not begin a new stream. */
  has(principal: string, id: string): Awaitable<boolean>;
  /** @returns true if the principal has a stream in this process, running or kept. */
  hasAny(principal: string): boolean;
  /**
   * Ends a stream with `cancelled` for all its readers, and the generation unless another stream shares
   * it; the text stays.
   */
  cancel(stream: Stream): Awaitable<void>;
  /**
   * Answers a call of a tool that waits for a client. The same answer again does nothing.
   *
   * @throws {StreamError} not_found, if no such call has waited; conflict, if it has another answer or has
   * ended without one; bad_request, if it waits for something else; overloaded, if the process that generates the
   * answer cannot be told.
   */
  reply(stream: Stream, callId: string, reply: ToolReply): Awaitable<void>;
  /**
   * Calls `listener` when a stream of the principal was started, when its status may have changed, and when
   * it has ended. @returns a function that ends this.
   */
  watch(principal: string, listener: (stream: ListedStream) => void): () => void;
  /** The principal's streams that have not ended, oldest first. */
  running(principal: string): Awaitable<readonly ListedStream[]>;
  /** Ends and forgets the streams of a principal that cannot come back. */
  forgetPrincipal(principal: string): void;
  /**
   * Ends and removes the streams of a principal, running and kept, at once.
   *
   * @returns a promise that resolves when they are removed, and the calls of `onEnd` for them have returned.
   */
  forget(principal: string): Promise<void> | undefined;
  /**
   * Takes no new stream from now on, and resolves when all have ended and were read, and `onEnd` has
   * returned for all of them. After `drainMs` what still runs ends with `interrupted`; readers and calls of
   * `onEnd` have one second after that.
   */
  drain(drainMs: number): Promise<void>;
  /** Ends every stream, and takes no new one. */
  close(): void;
}
