import { randomUUID } from 'node:crypto';
import type { ErrorCode, StreamStatus } from '@rivulet/protocol';
import type { ErrorEntry, NewsEntry } from '../entry.js';
import type { Log } from './log.js';
import type { Pace } from './pace.js';
import { Reader, type ReaderOptions, type Sink, type Source } from './reader.js';

/** The names of a stream, and the question. */
export interface StreamIdentity {
  principal: string;
  id: string;
  /** The caller's own name for the conversation, given back in every message. */
  sessionId: string | undefined;
  query: string;
  /** Earlier messages that the client left out of the context; 0 unless given. */
  omittedMessages?: number;
  /** UTF-16 units of the text that the answer continues; 0 unless given. */
  continuedUnits?: number;
}

export interface StreamTimeouts {
  /** A stream is cancelled this long after its last reader said that it left. */
  detachTimeoutMs: number;
  /** A stream is cancelled this long after its last reader was cut off, unless that comes back. */
  disconnectTimeoutMs: number;
}

/** A reader said that it left, or its connection broke. */
export type Leaving = 'detached' | 'lost';

/** What a reader did. */
export type ReaderChange = 'reading' | Leaving;

/** A reader of a stream. */
export interface Subscription {
  readonly reader: Reader;
  /** The reader's own name, by which it is known when it comes back. */
  readonly id: string | symbol;
  /** Numbers the requests to read in the order in which they came. */
  readonly arrival: number;
}

export interface StreamListener {
  /** `isDetached` has changed. */
  onDetachedChange(stream: Stream): void;
  /** `status` may have changed. */
  onStatusChange(stream: Stream): void;
  /** No reader is left, and the time in which one could come back is over. */
  onAbandoned(stream: Stream): void;
  /** A reader came or left. */
  onReaderChange?(stream: Stream, readerId: string | symbol, change: ReaderChange): void;
}

/** How the log of the server and the readers name a stream. */
export interface StreamNames {
  requestId: string;
  answerId: string;
  /** A random id unless given. */
  epoch?: string;
}

/** A stream as it is listed for its principal. */
export interface ListedStream {
  readonly id: string;
  readonly sessionId: string | undefined;
  readonly query: string;
  readonly status: StreamStatus;
  /** The end of its log so far. */
  readonly offset: number;
  /** Of the error that it ended with; undefined for none. */
  readonly code: ErrorCode | undefined;
}

/** A log, who asked for it, and who reads it. */
export class Stream implements StreamIdentity, Source, ListedStream {
  /** Names the stream in the log of the server. It is random, and no secret. */
  readonly requestId: string;
  /** Names the answer in the log: the `requestId` of the stream for which it was begun. */
  readonly answerId: string;
  readonly principal: string;
  readonly id: string;
  readonly sessionId: string | undefined;
  readonly query: string;
  readonly omittedMessages: number;
  readonly continuedUnits: number;
  readonly log: Log;
  /** The log's random id, by which a reader notices that a log was created again. */
  readonly epoch: string;
  readonly startedAt: number = performance.now();
  readonly #timeouts: StreamTimeouts;
  readonly #pace: Pace;
  readonly #listener: StreamListener;
  /** Most streams have one reader, for which a map would be large. */
  #subscriptions: readonly Subscription[] = [];
  /** Until when each reader that was cut off is waited for. */
  #lostUntil: Map<string | symbol, number> | undefined;
  #detachedUntil = 0;
  #isDetached = false;
  #isPaused = false;
  #news: NewsEntry | undefined;
  #timer: NodeJS.Timeout | undefined;
  #detaching: NodeJS.Immediate | undefined;

  constructor(
    identity: StreamIdentity,
    log: Log,
    timeouts: StreamTimeouts,
    pace: Pace,
    listener: StreamListener,
    { requestId, answerId, epoch = randomUUID() }: StreamNames,
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
    this.#pace = pace;
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

  /** True if a reader without a window reads it: it cannot be told that the text begins again. */
  get hasPlainReader(): boolean {
    return this.#subscriptions.some(({ reader }) => reader.isPlain);
  }

  /** True while the stream goes on only because a reader that said it left may come back. */
  get isDetached(): boolean {
    return this.#isDetached;
  }

  /** What holds until the log grows. */
  get news(): NewsEntry | undefined {
    return this.#news;
  }

  setNews(news: NewsEntry | undefined): void {
    if (news === this.#news) return;
    this.#news = news;
    for (const { reader } of this.#subscriptions) reader.onNewsChange();
    this.#listener.onStatusChange(this);
  }

  /** A paused stream waits for a client to answer a call. It is not abandoned until that has an end. */
  setPaused(isPaused: boolean): void {
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    const now = performance.now();
    // Whoever answered the call has as much time to read on as after a cut.
    if (!isPaused) this.#detachedUntil = now + this.#timeouts.disconnectTimeoutMs;
    this.#abandonInTime();
    this.#listener.onStatusChange(this);
  }

  /** True if the reader has asked to read with a later request than `arrival`. */
  isReadSince(arrival: number, readerId: string | undefined): boolean {
    return this.#subscriptions.some((other) => other.id === readerId && other.arrival > arrival);
  }

  read(
    options: ReaderOptions & { readerId: string | undefined; arrival?: number },
    sink: Sink,
  ): Subscription {
    const id = options.readerId ?? Symbol('a reader without a name');
    this.#lostUntil?.delete(id);
    const reader = new Reader(this, options, sink, this.#pace);
    this.#leaveAll(id);
    const subscription = { reader, id, arrival: options.arrival ?? 0 };
    this.#subscriptions = [...this.#subscriptions, subscription];
    this.#listener.onReaderChange?.(this, id, 'reading');
    this.#abandonInTime();
    return subscription;
  }

  /** The log has another content from `offset` on, which begins with a new attempt. */
  rewind(offset: number): void {
    for (const { reader } of this.#subscriptions) reader.rewind(offset);
  }

  /** The reader is closed. A second call does nothing. */
  leave(subscription: Subscription, how: Leaving): void {
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
    this.#abandonInTime();
  }

  /** A reader that was cut off says that it will not come back. */
  giveUp(readerId: string | undefined): void {
    if (readerId === undefined) return;
    this.#listener.onReaderChange?.(this, readerId, 'detached');
    this.#leaveAll(readerId);
    if (this.#lostUntil?.delete(readerId) !== true) return;
    this.#detachedUntil = performance.now() + this.#timeouts.detachTimeoutMs;
    this.#abandonInTime();
  }

  /** The log is being dropped: its readers are told `reason` or the usual error, and no timer is left. */
  dispose(reason?: ErrorEntry): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#detaching);
    for (const { reader } of this.#subscriptions) reader.drop(reason);
    this.#subscriptions = [];
  }

  #setDetached(value: boolean): void {
    if (value === this.#isDetached) return;
    this.#isDetached = value;
    this.#listener.onDetachedChange(this);
  }

  #abandonInTime(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#detaching);
    if (this.hasReaders || this.#isPaused || this.log.done) return this.#setDetached(false);
    const now = performance.now();
    let until = Math.max(now, this.#detachedUntil);
    const lostUntil = this.#lostUntil ?? new Map<string, number>();
    for (const [id, lostUntilMs] of lostUntil) {
      if (lostUntilMs <= now) lostUntil.delete(id);
      else until = Math.max(until, lostUntilMs);
    }
    this.#timer = setTimeout(() => this.#listener.onAbandoned(this), until - now).unref();
    // A reader that was cut off said nothing, so the stream waits for it whatever the others said.
    if (lostUntil.size > 0) return this.#setDetached(false);
    // A view that replaces another leaves and reads again at once; both messages come in one turn.
    this.#detaching = setImmediate(() => this.#setDetached(true));
  }

  /** Ends the readers of a connection that is dead but does not look so yet. */
  #leaveAll(id: string | symbol): void {
    for (const subscription of this.#subscriptions) {
      if (subscription.id === id) this.leave(subscription, 'detached');
    }
  }
}
