import type { ErrorEntry, NewsEntry } from '../entry.js';
import type { LogSlice, Log, LogListener } from './log.js';
import type { Flushable, FlushScheduler } from './flush-scheduler.js';

/** A log that a reader reads, and the status until it grows. */
export interface ReadableSource {
  readonly log: Log;
  readonly news: NewsEntry | undefined;
}

/** Receives the slices that a reader sends. */
export interface ReaderSink {
  /**
   * @returns true if the transport takes a message now. Otherwise the sink calls the reader's `flush` later.
   */
  writable(reader: Flushable): boolean;
  /** Called once, before anything else is sent. */
  begin?(): void;
  send(slice: LogSlice): void;
  /**
   * The log was dropped after the reader had sent it up to `offset`. Nothing more is sent. `reason` is an
   * error to send instead of the usual one.
   */
  drop(offset: number, reason: ErrorEntry | undefined): void;
  /** The reader is closed. The sink must release it, because the reader holds its log in memory. */
  forget(reader: Flushable): void;
  /** Sends the status until the next entry. A newer status replaces one that was not sent yet. */
  sendNews(news: NewsEntry): void;
}

export interface ReaderOptions {
  /** The offset at which reading begins. */
  offset: number;
  /** The number of offset units that may be sent before an acknowledgement; undefined for no limit. */
  window: number | undefined;
}

/**
 * Bounds one message for a reader that is far behind. On a slow connection, other streams and heartbeats
 * would wait behind a longer one.
 */
const MAX_SLICE_UNITS = 4_096;

/** Reads a log for one subscription. Stores two offsets: sent and acknowledged. */
export class Reader implements Flushable, LogListener {
  isScheduled = false;
  readonly #source: ReadableSource;
  readonly #sink: ReaderSink;
  readonly #scheduler: FlushScheduler;
  /** Infinity if there is no window. */
  readonly #window: number;
  #sent: number;
  #acked: number;
  /** The status that the client has; undefined for none. Each entry resets it. */
  #sentNews: NewsEntry | undefined;
  #isClosed = false;
  #hasBegun: boolean;
  #isFresh = true;

  constructor(
    source: ReadableSource,
    options: ReaderOptions,
    sink: ReaderSink,
    scheduler: FlushScheduler,
  ) {
    this.#source = source;
    this.#sink = sink;
    this.#scheduler = scheduler;
    this.#window = options.window ?? Infinity;
    this.#sent = options.offset;
    this.#acked = options.offset;
    this.#hasBegun = sink.begin === undefined;
    source.log.addListener(this);
    scheduler.schedule(this);
  }

  get isFresh(): boolean {
    return this.#isFresh;
  }

  /** True if there is no window: the client only concatenates text. */
  get isPlain(): boolean {
    return this.#window === Infinity;
  }

  /** All below this offset was sent. */
  get sent(): number {
    return this.#sent;
  }

  onAppend(): void {
    this.#scheduler.schedule(this);
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
      // Checked before `read`, which has a cost: `flush` also runs at each append for a reader that cannot
      // send.
      if (!sink.writable(this)) return;
      const slice = log.read(this.#sent, credit);
      if (slice === undefined) break;
      this.#sent += slice.size;
      if (slice.entry.type === 'text') this.#isFresh = false;
      this.#sentNews = undefined;
      sink.send(slice);
      if (this.#isClosed) return;
    }
    // The status is sent only after all entries of the log, because each entry ends it.
    if (this.#sent === log.head) this.#sendNews();
  }

  /**
   * The client has everything below `offset`. An offset below the last one, or above the sent one, does
   * nothing.
   */
  ack(offset: number): void {
    if (offset <= this.#acked || offset > this.#sent) return;
    this.#acked = offset;
    this.flush();
  }

  /** The content of the log has changed from `offset` on, where a new attempt begins. */
  rewind(offset: number): void {
    this.#sent = Math.min(this.#sent, offset);
    this.#acked = Math.min(this.#acked, offset);
    this.#scheduler.schedule(this);
  }

  /** The status has changed. */
  onNewsChange(): void {
    this.#scheduler.schedule(this);
  }

  /** Stops sending. */
  close(): void {
    this.#isClosed = true;
    this.#source.log.removeListener(this);
    this.#sink.forget(this);
  }

  /** The log was dropped: notifies the sink and stops sending. */
  drop(reason?: ErrorEntry): void {
    if (!this.#hasBegun && !this.#isClosed) this.#sink.begin?.();
    this.close();
    this.#sink.drop(this.#sent, reason);
  }

  #credit(): number {
    return Math.min(MAX_SLICE_UNITS, this.#acked + this.#window - this.#sent);
  }

  #sendNews(): void {
    const { news } = this.#source;
    if (news === undefined || isSame(news, this.#sentNews) || !this.#sink.writable(this)) return;
    this.#sentNews = news;
    this.#sink.sendNews(news);
  }
}

/** The status of a stream that is not in a queue. */
const NOT_QUEUED: NewsEntry = { type: 'queued', ahead: 0 };

function isSame(a: NewsEntry, b: NewsEntry = NOT_QUEUED): boolean {
  if (a.type === 'queued' && b.type === 'queued') return a.ahead === b.ahead;
  return a.type === b.type;
}
