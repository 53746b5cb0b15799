import type { ErrorEntry } from '../entry.js';
import type { PreparedRequest } from '../hooks.js';
import type { ToolReply } from '../tool-replies.js';
import type { Generation, LogWriter } from './generation.js';
import type { ReaderChange, Stream } from './stream.js';

/**
 * Stores the logs of a registry where other processes can read them. Without a store, a generation writes its
 * log with a plain call for each entry.
 */
export interface LogStore {
  /**
   * Called when a generation begins. @returns the writer of its log; undefined if the generation writes the
   * log itself.
   */
  createWriter(
    generation: Generation,
    prepared: PreparedRequest | undefined,
  ): LogWriter | undefined;
  /**
   * Called after `prepare` has returned for a stream.
   *
   * @returns the generation, of any process, that the stream shares; undefined if the stream needs its own.
   */
  findFlight(
    stream: Stream,
    generation: Generation,
    fingerprint: string,
  ): Promise<Generation | undefined>;
  /** @returns true while every reader, in any process, has detached. */
  isDetached(stream: Stream): boolean;
  /** Called when a stream was ended in this process with an entry that its generation did not write. */
  onEnd(stream: Stream, entry: ErrorEntry): void;
  /**
   * Called when the last stream of a generation was ended in this process.
   * @returns true if streams of other processes share the generation, so that it continues.
   */
  isShared(generation: Generation): boolean;
  /** Called when a generation starts to wait for a client's reply to a call, and when it continues. */
  onPausedChange(generation: Generation): void;
  /**
   * Called when a call that waits for a client has timed out.
   * @returns the reply that another process has accepted before; undefined if later replies are refused.
   */
  onCallTimeout(generation: Generation, callId: string): Promise<ToolReply | undefined>;
  /** Called when a reader subscribed or left. */
  onReaderChange(stream: Stream, readerId: string | symbol, change: ReaderChange): void;
  /** Called when the stream has no reader left in this process. Ends the stream after its timeout. */
  onAbandoned(stream: Stream): void;
  /** Called when a stream was dropped from the memory of this process. */
  onRemoved(stream: Stream, generation: Generation): void;
}
