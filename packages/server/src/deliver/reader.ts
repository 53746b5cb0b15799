import type { ErrorEntry, NewsEntry } from '../entry.js';
import type { Frame, Log, LogListener } from './log.js';
import type { Flushable, Pace } from './pace.js';

/** The log that a reader reads, and what holds until it grows. */
export interface Source {
  readonly log: Log;
  readonly news: NewsEntry | undefined;
}

/** Receives the frames of a reader. */
export interface Sink {
  /** @returns true if it takes a frame now. If not, it calls the reader's `flush` when it does. */
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
  /** Sends what holds until the next frame. Newer news replace what was not sent. */
  sendNews(news: NewsEntry): void;
}

export interface ReaderOptions {
  /** Where reading begins. */
  offset: number;
  /** Offset units that may be sent beyond what was acknowledged; undefined for no such bound. */
  window: number | undefined;
}

/**
 * A late reader of a long text does not get it in one message: on a slow line other streams and signs of
 * life would wait behind it.
 */
const MAX_FRAME_UNITS = 4_096;

/** A cursor on a log: two numbers, sent and acknowledged. */
export class Reader implements Flushable, LogListener {
  isScheduled = false;
  readonly #source: Source;
  readonly #sink: Sink;
  readonly #pace: Pace;
  /** Infinity where no window bounds what is sent. */
  readonly #window: number;
  #sent: number;
  #acked: number;
  /** What the other end takes to hold; undefined for nothing, which each frame says. */
  #toldNews: NewsEntry | undefined;
  #isClosed = false;
  #hasBegun: boolean;
  #isFresh = true;

  constructor(source: Source, options: ReaderOptions, sink: Sink, pace: Pace) {
    this.#source = source;
    this.#sink = sink;
    this.#pace = pace;
    this.#window = options.window ?? Infinity;
    this.#sent = options.offset;
    this.#acked = options.offset;
    this.#hasBegun = sink.begin === undefined;
    source.log.addListener(this);
    pace.soon(this);
  }

  get isFresh(): boolean {
    return this.#isFresh;
  }

  /** True if no window bounds what is sent: the client may only concatenate. */
  get isPlain(): boolean {
    return this.#window === Infinity;
  }

  /** All below this offset was sent. */
  get sent(): number {
    return this.#sent;
  }

  onAppend(): void {
    this.#pace.soon(this);
  }

  flush(): void {
    if (this.#isClosed) return;
    const sink = this.#sink;
    const { log } = this.#source;
    if (!this.#hasBegun) {
      if (!sink.writable(this)) return;
      this.#hasBegun = true;
      sink.begin?.();
    }
    while (this.#sent < log.head) {
      const credit = this.#credit();
      if (credit <= 0) break;
      // Before the read, which costs what it gives: a reader that is stopped is asked at each append.
      if (!sink.writable(this)) return;
      const frame = log.read(this.#sent, credit);
      if (frame === undefined) break;
      this.#sent += frame.size;
      if (frame.entry.type === 'text') this.#isFresh = false;
      this.#toldNews = undefined;
      sink.send(frame);
      if (this.#isClosed) return;
    }
    // Not before what the log still has, which would say that it is over.
    if (this.#sent === log.head) this.#tellNews();
  }

  /** The reader has everything below `offset`. Going back, or beyond what was sent, changes nothing. */
  ack(offset: number): void {
    if (offset <= this.#acked || offset > this.#sent) return;
    this.#acked = offset;
    this.flush();
  }

  /** The log has another content from `offset` on, which begins with a new attempt. */
  rewind(offset: number): void {
    this.#sent = Math.min(this.#sent, offset);
    this.#acked = Math.min(this.#acked, offset);
    this.#pace.soon(this);
  }

  /** What holds until the log grows has changed. */
  onNewsChange(): void {
    this.#pace.soon(this);
  }

  /** Nothing is sent any more. */
  close(): void {
    this.#isClosed = true;
    this.#source.log.removeListener(this);
    this.#sink.forget(this);
  }

  /** The log is gone: the sink hears so, and nothing is sent any more. */
  drop(reason?: ErrorEntry): void {
    if (!this.#hasBegun && !this.#isClosed) this.#sink.begin?.();
    this.close();
    this.#sink.drop(this.#sent, reason);
  }

  #credit(): number {
    return Math.min(MAX_FRAME_UNITS, this.#acked + this.#window - this.#sent);
  }

  #tellNews(): void {
    const { news } = this.#source;
    if (news === undefined || isSame(news, this.#toldNews) || !this.#sink.writable(this)) return;
    this.#toldNews = news;
    this.#sink.sendNews(news);
  }
}

/** A stream that is in no queue has no request before it. */
const NOT_QUEUED: NewsEntry = { type: 'queued', ahead: 0 };

function isSame(a: NewsEntry, b: NewsEntry = NOT_QUEUED): boolean {
  if (a.type === 'queued' && b.type === 'queued') return a.ahead === b.ahead;
  return a.type === b.type;
}
