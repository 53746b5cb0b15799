import { StreamError, type StreamErrorOptions } from '@rivulet/protocol';
import type { GenerateRequest } from '../request.js';
import type { ToolReply } from '../tool-replies.js';
import type { ListedStream, Stream, StreamIdentity } from './stream.js';

type Awaitable<T> = T | Promise<T>;

export interface RegistrySize {
  /** The number of readers of all streams. */
  readers: number;
  /** The used bytes of the memory budget. */
  logBytes: number;
}

/** The refusal of a server that shuts down. The log and metrics count it apart from other `overloaded` errors. */
export class DrainingError extends StreamError {
  constructor(message: string, options: StreamErrorOptions) {
    super('overloaded', message, options);
  }
}

/** Counters that several processes share. */
export interface SharedCounts {
  /**
   * Adds one to each counter. A counter returns to 0 after its window.
   * @returns the counts, and the milliseconds until they return to 0; undefined if they cannot be shared at
   * the moment.
   */
  spend(
    counters: readonly { name: string; windowMs: number }[],
  ): Promise<readonly { count: number; msLeft: number }[] | undefined>;
  forget(names: readonly string[]): Promise<void>;
}

/**
 * The streams of a server. Ids are unique within a principal: a principal cannot find the streams of another.
 * The directory holds the streams of this process, or of all processes that share a Redis. Only the latter
 * returns promises.
 */
export interface StreamDirectory {
  /** The memory and readers of the streams of this process. */
  readonly size: RegistrySize;
  /** Present if several processes share the directory. */
  readonly counts?: SharedCounts;
  /**
   * Starts a stream, or returns the stream that this principal started with the same id and request.
   * Identical concurrent requests share one generation, unless their cache mode forbids it. With a `prepare`
   * hook, they share one if the hook has returned the same result for both.
   *
   * @param connectionId identifies the connection in log lines.
   * @throws {StreamError} conflict, if the request differs; overloaded, above a limit.
   */
  start(
    identity: StreamIdentity,
    request: GenerateRequest,
    connectionId?: string,
  ): Awaitable<Stream>;
  /** @throws {StreamError} not_found. */
  get(principal: string, id: string): Awaitable<Stream>;
  /** @returns true if a stream with this id exists, so that a start would not create a new one. */
  has(principal: string, id: string): Awaitable<boolean>;
  /** @returns true if the principal has a running or finished stream in this process. */
  hasAny(principal: string): boolean;
  /**
   * Ends a stream with `cancelled` for all its readers. The generation also ends, unless another stream
   * shares it. The text stays readable.
   */
  cancel(stream: Stream): Awaitable<void>;
  /**
   * Passes a client's reply to a tool call that waits for it. Repeating the same reply does nothing.
   *
   * @throws {StreamError} not_found, if no such call has waited; conflict, if it has another reply or has
   * ended without one; bad_request, if it waits for another kind of reply; overloaded, if the process that
   * generates the answer cannot be reached.
   */
  reply(stream: Stream, callId: string, reply: ToolReply): Awaitable<void>;
  /**
   * Calls `listener` when a stream of the principal has started, may have changed its status, or has ended.
   * @returns a function that removes the listener.
   */
  watch(principal: string, listener: (stream: ListedStream) => void): () => void;
  /** The principal's streams that have not ended, oldest first. */
  running(principal: string): Awaitable<readonly ListedStream[]>;
  /** Ends and removes the streams of a principal that cannot reconnect. */
  forgetPrincipal(principal: string): void;
  /**
   * Ends and removes the streams of a principal, running and kept, at once.
   *
   * @returns a promise that resolves when they are removed, and the calls of `onEnd` for them have returned.
   */
  forget(principal: string): Promise<void> | undefined;
  /**
   * Refuses new streams. Resolves when all streams have ended and were read, and `onEnd` has returned for all
   * of them. After `drainMs` milliseconds, running streams end with `interrupted`; readers and calls of
   * `onEnd` have one second after that.
   */
  drain(drainMs: number): Promise<void>;
  /** Ends every stream and refuses new ones. */
  close(): void;
}
