import type { ErrorEntry } from '../entry.js';
import type { Frame, Log } from './log.js';
import type { Flushable, Pace } from './pace.js';

/** What a reader reads. */
export interface Source {
  log: Log;
  /** How many are ahead in a queue, 0 once it has left that; undefined when it was in none. */
  ahead(): number | undefined;
}

/** Where a reader's frames go. */
export interface Sink {
  /** Whether it takes a frame now. A sink that does not is to call the reader's `flush` when it does. */
  writable(reader: Flushable): boolean;
  /** Called once, before anything else is sent. */
  begin?(): void;
  send(frame: Frame): void;
  /**
   * The log is gone though the reader has it only up to `offset`; nothing more is sent. `reason` is an
   * error to send in place of the usual one.
   */
  drop(offset: number, reason: ErrorEntry | undefined): void;
  /** The reader is closed. The sink must not hold it any more, because the reader holds its log. */
  forget(reader: Flushable): void;
  /** How many are ahead of the stream, as far as it goes: only the newest is said. */
  sendAhead(ahead: number): void;
}

export interface ReaderOptions {
  /** Where reading begins. */
  offset: number;
  /** Offset units that may be sent beyond what was acknowledged; undefined for no such bound. */
  window: number | undefined;
}

/** A cursor on a log: two numbers, sent and acknowledged. */
export interface Reader extends Flushable {
  /** The reader has everything below `offset`. Going back, or beyond what was sent, changes nothing. */
  ack(offset: number): void;
  /** True if no window bounds what is sent: the client may only concatenate. */
  readonly isPlain: boolean;
  /** Nothing is sent any more. */
  close(): void;
  /** The log is gone: the sink hears so, and nothing is sent any more. */
  drop(reason?: ErrorEntry): void;
}

/**
 * So that a late reader of a long text does not get it in one message: on a slow line other streams
 * and signs of life wait behind each.
 */
const MAX_FRAME_UNITS = 4_096;

export function createReader(
  { log, ahead }: Source,
  options: ReaderOptions,
  sink: Sink,
  pace: Pace,
): Reader {
  let sent = options.offset;
  let acked = options.offset;
  /** What the other end takes `ahead` to be: each frame says that the wait is over. */
  let told = 0;
  let closed = false;
  let begun = sink.begin === undefined;
  const stopListening = log.onAppend(() => pace.soon(reader));

  function credit(): number {
    if (options.window === undefined) return MAX_FRAME_UNITS;
    return Math.min(MAX_FRAME_UNITS, acked + options.window - sent);
  }

  function tellAhead(): void {
    const now = ahead();
    if (now === undefined || now === told || !sink.writable(reader)) return;
    told = now;
    sink.sendAhead(now);
  }

  const reader: Reader = {
    isPlain: options.window === undefined,
    get isFresh() {
      return sent === options.offset;
    },
    flush() {
      if (!begun && !closed) {
        if (!sink.writable(reader)) return;
        begun = true;
        sink.begin?.();
      }
      for (;;) {
        if (closed || sent >= log.head || credit() <= 0) break;
        // Before the read, which costs what it gives: a reader that is stopped is asked at each append.
        if (!sink.writable(reader)) return;
        const frame = log.read(sent, credit());
        if (frame === undefined) break;
        sent += frame.size;
        told = 0;
        sink.send(frame);
      }
      // Not before what the log still has, which would say that the wait is over.
      if (!closed && sent === log.head) tellAhead();
    },
    ack(offset) {
      if (offset <= acked || offset > sent) return;
      acked = offset;
      reader.flush();
    },
    close() {
      closed = true;
      stopListening();
      sink.forget(reader);
    },
    drop(reason) {
      if (!begun && !closed) sink.begin?.();
      reader.close();
      sink.drop(sent, reason);
    },
  };
  pace.soon(reader);
  return reader;
}
