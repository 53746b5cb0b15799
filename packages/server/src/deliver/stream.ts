import { randomUUID } from 'node:crypto';
import type { ErrorCode, StreamStatus } from '@rivulet/protocol';
import type { ErrorEntry, NewsEntry } from '../entry.js';
import type { Log } from './log.js';
import type { FlushScheduler } from './flush-scheduler.js';
import { Reader, type ReaderOptions, type ReaderSink, type ReadableSource } from './reader.js';

/** The ids of a stream, and its question. */
export interface StreamIdentity {
  principal: string;
  id: string;
  /** The client's name for the conversation. Every message of the stream contains it. */
  sessionId: string | undefined;
  query: string;
  /** The number of earlier messages that the client left out of the context. 0 unless given. */
  omittedMessages?: number;
  /** The UTF-16 units of the text that the answer continues. 0 unless given. */
  continuedUnits?: number;
}

export interface StreamTimeouts {
  /** Milliseconds from the detachment of the last reader to the cancellation of the stream. */
  detachTimeoutMs: number;
  /**
   * Milliseconds from the disconnection of the last reader to the cancellation of the stream, unless the
   * reader reconnects.
   */
  disconnectTimeoutMs: number;
}

/** `detached`: the reader has unsubscribed. `lost`: its connection broke. */
export type LeaveReason = 'detached' | 'lost';

/** The change of a reader's state. */
export type ReaderChange = 'reading' | LeaveReason;

/** A reader of a stream. */
export interface Subscription {
  readonly reader: Reader;
  /** The reader's own id. A reader that reconnects sends the same id. */
  readonly id: string | symbol;
  /** Numbers the requests to read in the order in which they came. */
  readonly arrival: number;
}

export interface StreamListener {
  /** `isDetached` has changed. */
  onDetachedChange(stream: Stream): void;
  /** `status` may have changed. */
  onStatusChange(stream: Stream): void;
  /** The stream has no reader, and the time for reconnecting is over. */
  onAbandoned(stream: Stream): void;
  /** A reader subscribed or left. */
  onReaderChange?(stream: Stream, readerId: string | symbol, change: ReaderChange): void;
}

/** The ids of a stream in log lines and on the wire. */
export interface StreamIds {
  requestId: string;
  answerId: string;
  /** A random id unless given. */
  epoch?: string;
}

/** A stream in the list of its principal's streams. */
export interface ListedStream {
  readonly id: string;
  readonly sessionId: string | undefined;
  readonly query: string;
  readonly status: StreamStatus;
  /** The end of its log so far. */
  readonly offset: number;
  /** The code of its error; undefined if it has not ended with an error. */
  readonly code: ErrorCode | undefined;
}

/** A log, its question and its readers. */
export class Stream implements StreamIdentity, ReadableSource, ListedStream {
  /** Identifies the stream in log lines. It is random, and not a secret. */
  readonly requestId: string;
  /** Identifies the answer in log lines: the `requestId` of the generation's first stream. */
  readonly answerId: string;
  readonly principal: string;
  readonly id: string;
  readonly sessionId: string | undefined;
  readonly query: string;
  readonly omittedMessages: number;
  readonly continuedUnits: number;
  readonly log: Log;
  /** The log's random id. A reader detects by it that a log was created again. */
  readonly epoch: string;
  readonly startedAt: number = performance.now();
  readonly #timeouts: StreamTimeouts;
  readonly #scheduler: FlushScheduler;
  readonly #listener: StreamListener;
  /** Most streams have one reader, for which a map would be large. */
  #subscriptions: readonly Subscription[] = [];
  /** The time until which the stream waits for each disconnected reader. */
  #lostUntil: Map<string | symbol, number> | undefined;
  #detachedUntil = 0;
  #isDetached = false;
  #isPaused = false;
  #news: NewsEntry | undefined;
  #timer: NodeJS.Timeout | undefined;
  #detachImmediate: NodeJS.Immediate | undefined;

  constructor(
    identity: StreamIdentity,
    log: Log,
    timeouts: StreamTimeouts,
    scheduler: FlushScheduler,
    listener: StreamListener,
    { requestId, answerId, epoch = randomUUID() }: StreamIds,
  ) {
    this.requestId = requestId;
    this.answerId = answerId;
    this.epoch = epoch;
    this.principal = identity.principal;
    this.id = identity.id;
    this.sessionId = identity.sessionId;
    this.query = identity.query;
    this.omittedMessages = identity.omittedMessages ?? 0;
    this.continuedUnits = identity.continuedUnits ?? 0;
    this.log = log;
    this.#timeouts = timeouts;
    this.#scheduler = scheduler;
    this.#listener = listener;
  }

  get status(): StreamStatus {
    if (this.log.done) return 'ended';
    if (this.#isPaused) return 'paused';
    if (this.#news?.type === 'loading') return 'loading';
    if (this.#news !== undefined && this.#news.ahead > 0) return 'queued';
    return this.log.textLength === 0 ? 'waiting' : 'streaming';
  }

  get offset(): number {
    return this.log.head;
  }

  get code(): ErrorCode | undefined {
    const { log } = this;
    const last = log.done ? log.read(log.head - 1, 1)?.entry : undefined;
    return last?.type === 'error' ? last.code : undefined;
  }

  get hasReaders(): boolean {
    return this.readers > 0;
  }

  /** The number of readers. */
  get readers(): number {
    return this.#subscriptions.length;
  }

  /** The offset up to which a reader has been sent the log at most. */
  get sent(): number {
    return Math.max(0, ...this.#subscriptions.map(({ reader }) => reader.sent));
  }

  /** True if the stream has a reader without a window. Such a reader cannot restart its text. */
  get hasPlainReader(): boolean {
    return this.#subscriptions.some(({ reader }) => reader.isPlain);
  }

  /** True while the stream continues only because a detached reader may reconnect. */
  get isDetached(): boolean {
    return this.#isDetached;
  }

  /** The status before the next entry, such as the place in the queue. */
  get news(): NewsEntry | undefined {
    return this.#news;
  }

  setNews(news: NewsEntry | undefined): void {
    if (news === this.#news) return;
    this.#news = news;
    for (const { reader } of this.#subscriptions) reader.onNewsChange();
    this.#listener.onStatusChange(this);
  }

  /** Sets whether the stream waits for a client's reply to a call. A paused stream is not abandoned. */
  setPaused(isPaused: boolean): void {
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    const now = performance.now();
    // The client that replied has as much time to reconnect as after a disconnection.
    if (!isPaused) this.#detachedUntil = now + this.#timeouts.disconnectTimeoutMs;
    this.#scheduleAbandon();
    this.#listener.onStatusChange(this);
  }

  /** True if the reader has asked to read with a later request than `arrival`. */
  isReadSince(arrival: number, readerId: string | undefined): boolean {
    return this.#subscriptions.some((other) => other.id === readerId && other.arrival > arrival);
  }

  read(
    options: ReaderOptions & { readerId: string | undefined; arrival?: number },
    sink: ReaderSink,
  ): Subscription {
    const id = options.readerId ?? Symbol('a reader without a name');
    this.#lostUntil?.delete(id);
    const reader = new Reader(this, options, sink, this.#scheduler);
    this.#leaveAll(id);
    const subscription = { reader, id, arrival: options.arrival ?? 0 };
    this.#subscriptions = [...this.#subscriptions, subscription];
    this.#listener.onReaderChange?.(this, id, 'reading');
    this.#scheduleAbandon();
    return subscription;
  }

  /** The content of the log has changed from `offset` on, where a new attempt begins. */
  rewind(offset: number): void {
    for (const { reader } of this.#subscriptions) reader.rewind(offset);
  }

  /** Removes a subscription. A second call does nothing. */
  leave(subscription: Subscription, how: LeaveReason): void {
    const { reader, id } = subscription;
    const others = this.#subscriptions.filter((other) => other !== subscription);
    if (others.length === this.#subscriptions.length) return;
    this.#subscriptions = others;
    reader.close();
    const now = performance.now();
    if (how === 'lost') {
      this.#lostUntil ??= new Map();
      this.#lostUntil.set(id, now + this.#timeouts.disconnectTimeoutMs);
    } else this.#detachedUntil = now + this.#timeouts.detachTimeoutMs;
    this.#listener.onReaderChange?.(this, id, how);
    this.#scheduleAbandon();
  }

  /** Stops waiting for a disconnected reader that will not reconnect. */
  forgetLostReader(readerId: string | undefined): void {
    if (readerId === undefined) return;
    this.#listener.onReaderChange?.(this, readerId, 'detached');
    this.#leaveAll(readerId);
    if (this.#lostUntil?.delete(readerId) !== true) return;
    this.#detachedUntil = performance.now() + this.#timeouts.detachTimeoutMs;
    this.#scheduleAbandon();
  }

  /** Closes all readers of a dropped log with `reason` or the usual error, and clears the timers. */
  dispose(reason?: ErrorEntry): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#detachImmediate);
    for (const { reader } of this.#subscriptions) reader.drop(reason);
    this.#subscriptions = [];
  }

  #setDetached(value: boolean): void {
    if (value === this.#isDetached) return;
    this.#isDetached = value;
    this.#listener.onDetachedChange(this);
  }

  #scheduleAbandon(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#detachImmediate);
    if (this.hasReaders || this.#isPaused || this.log.done) return this.#setDetached(false);
    const now = performance.now();
    let until = Math.max(now, this.#detachedUntil);
    const lostUntil = this.#lostUntil ?? new Map<string, number>();
    for (const [id, lostUntilMs] of lostUntil) {
      if (lostUntilMs <= now) lostUntil.delete(id);
      else until = Math.max(until, lostUntilMs);
    }
    this.#timer = setTimeout(() => this.#listener.onAbandoned(this), until - now).unref();
    // The stream waits for a disconnected reader, even if all others have detached.
    if (lostUntil.size > 0) return this.#setDetached(false);
    // A page that replaces its view detaches and subscribes again; both messages arrive in one turn of the
    // event loop.
    this.#detachImmediate = setImmediate(() => this.#setDetached(true));
  }

  /** Closes the reader's subscriptions on earlier connections, which are dead but still open. */
  #leaveAll(id: string | symbol): void {
    for (const subscription of this.#subscriptions) {
      if (subscription.id === id) this.leave(subscription, 'detached');
    }
  }
}
