import type { ErrorEntry } from '../entry.js';
import type { PreparedRequest } from '../hooks.js';
import type { ToolReply } from '../tool-replies.js';
import type { Generation, LogWriter } from './generation.js';
import type { ReaderChange, Stream } from './stream.js';

/**
 * Keeps the logs of a registry where other processes read them. Without a store, a generation writes its
 * log itself, by a plain call for each entry.
 */
export interface LogStore {
  /** Called when a generation begins to run. @returns what writes its log; undefined for the generation itself. */
  createWriter(
    generation: Generation,
    prepared: PreparedRequest | undefined,
  ): LogWriter | undefined;
  /**
   * Called once the request of a stream was prepared.
   *
   * @returns the generation of any process that the stream shares from now on; undefined if it has its own.
   */
  findFlight(
    stream: Stream,
    generation: Generation,
    fingerprint: string,
  ): Promise<Generation | undefined>;
  /** @returns true while every reader, of any process, has said that it left. */
  isDetached(stream: Stream): boolean;
  /** Called when a stream was ended here with an entry of its own. */
  onEnd(stream: Stream, entry: ErrorEntry): void;
  /**
   * Called when the last stream of a generation was ended here.
   * @returns true if streams of other processes share the generation, so that it goes on.
   */
  isShared(generation: Generation): boolean;
  /** Called when a generation begins to wait for a client to answer a call, and when it goes on. */
  onPausedChange(generation: Generation): void;
  /**
   * Called when the time of a call that waits for a client is over.
   * @returns the reply that another process has taken before; undefined if none will be taken any more.
   */
  onCallTimeout(generation: Generation, callId: string): Promise<ToolReply | undefined>;
  /** Called when a reader came or left. */
  onReaderChange(stream: Stream, readerId: string | symbol, change: ReaderChange): void;
  /** Called when no reader of this process is left for the stream. It ends the stream in time. */
  onAbandoned(stream: Stream): void;
  /** Called when a stream was dropped from the memory of this process. */
  onRemoved(stream: Stream, generation: Generation): void;
}
