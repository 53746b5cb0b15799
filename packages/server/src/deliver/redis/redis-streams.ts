import { createHash, randomUUID } from 'node:crypto';
import { setInterval as every } from 'node:timers';
import { setTimeout as wait } from 'node:timers/promises';
import { type ErrorCode, StreamError, type StreamStatus } from '@rivulet/protocol';
import type { Entry, ErrorEntry, NewsEntry } from '../../entry.js';
import type { PreparedRequest } from '../../hooks.js';
import type { Logger } from '../../observe/logger.js';
import type { GenerateRequest } from '../../request.js';
import type { ToolReply } from '../../tool-replies.js';
import { overloaded } from '../eviction.js';
import type { Generate, Generation, LogWriter } from '../generation.js';
import type { LogStore } from '../log-store.js';
import type { ListedStream, ReaderChange, Stream, StreamIdentity } from '../stream.js';
import { isShared } from '../single-flight.js';
import type { RegistrySize, SharedCounts, StreamDirectory } from '../stream-directory.js';
import {
  CANCELLED,
  conflict,
  FORGOTTEN,
  type IdentifiedRequest,
  notFound,
  SHUT_DOWN,
  type StreamLimits,
  StreamRegistry,
  type StreamRegistryOptions,
} from '../stream-registry.js';
import { Appender, type AppendTarget } from './appender.js';
import { isFull, RedisConnection, unreachable } from './connection.js';
import { type CreateClient, LinkError, type Reply } from './link.js';
import { type AppendResult, RedisLogWriter, unitsOf } from './log-writer.js';
import { ReaderSeats } from './reader-seats.js';
import { resumedFrom, SharedLog } from './shared-log.js';

export interface RedisSettings {
  url: string;
  /** All keys begin with it. */
  keyPrefix: string;
  /** What becomes of the answers of a process that went away. */
  onNodeLoss: 'restart' | 'fail';
}

/** What identifies a stream in Redis, as JSON. */
interface StreamRecord {
  principal: string;
  id: string;
  sessionId?: string;
  query: string;
  omitted: number;
  continued: number;
  requestId: string;
  epoch: string;
}

/** What the process that takes over needs. */
interface RequestRecord {
  request: GenerateRequest;
  prepared?: PreparedRequest;
  connectionId?: string;
}

type Message =
  | ['append', gid: string, at: number, next: number, entries: Entry[]]
  | ['join', gid: string, sid: string, fingerprint: string, record: StreamRecord]
  | ['end', gid: string, sid: string, head: number, entry: ErrorEntry]
  | ['stop', gid: string, entry: ErrorEntry]
  | ['news', gid: string, news: NewsEntry]
  | ['beat', count: number]
  | ['forget', principal: string];

const REACHED_CHECK_MS = 20;
const DISCONNECT_MS = 100;
const BEAT_MS = 1_000;
const LEASE_MS = 3_000;
/** Claims begin after so long a time without a fault: owners come first after an outage of Redis. */
const STEADY_MS = 3_000;
const CLAIM_JITTER_MS = 300;
const MAX_CLAIMED = 8;
/** An answer that ends so many processes ends. */
const MAX_ATTEMPTS = 8;
/** The time to live of what belongs to a running stream. It is renewed. */
const LIVE_MS = 300_000;
const RENEW_MS = 20_000;
/** Until its first reader has come. */
const FIRST_READER_MS = 80_000;
/** Local readers are served without Redis once it has not answered for so long. */
const LOCAL_AFTER_MS = 1_000;
/** A log of another process that was silent for so long is looked up. */
const SILENT_MS = 2_000;
/** A log that Redis does not know is given up after so many looks. */
const MAX_MISSES = 4;
const FULL_MS = 5_000;
const MAX_USED_SHARE = 0.9;
const PAGE_BYTES = 262_144;

const STREAM_LOST: ErrorEntry = {
  type: 'error',
  code: 'interrupted',
  message: 'unable to finish the answer: the server that generated it went away; ask again',
};

/**
 * The streams of all processes that share a Redis. Each log has one process that writes it, its owner; the
 * others follow it. Readers read the log of their process. See `docs/scaling.md`.
 */
export class RedisStreams implements StreamDirectory, LogStore {
  readonly #registry: StreamRegistry;
  readonly #limits: StreamLimits;
  readonly #settings: RedisSettings;
  readonly #logger: Logger;
  readonly #node: string = randomUUID();
  readonly #logs = new Map<string, SharedLog>();
  readonly #byGeneration = new WeakMap<Generation, SharedLog>();
  /** Streams that are being looked up or opened. */
  readonly #opening = new Map<string, Promise<unknown>>();
  readonly #seats: ReaderSeats;
  readonly #watched = new Map<string, { count: number; ready: Promise<void> }>();
  readonly #watchers = new Map<string, Set<(stream: ListedStream) => void>>();
  readonly #hasPrepare: boolean;
  readonly #timers: NodeJS.Timeout[];
  readonly #connection: RedisConnection;
  readonly #appender: Appender;
  /** When Redis answered again after a fault, or for the first time; undefined while it does not. */
  #steadySince: number | undefined;
  #isDegraded = true;
  #lostAt = performance.now();
  #beats = 0;
  #heardBeat = 0;
  #isBeating = false;
  #isRecovering = false;
  #fullUntil = 0;
  #policy: string | undefined;
  #isClosed = false;
  #isDraining = false;
  /** True once this process has left its logs to the others. */
  #hasLeft = false;
  /** True if other processes could go on with the logs of this one. */
  #hasOthers = false;

  /** Connects to Redis. While it cannot be reached, streams are those of this process. */
  constructor(
    generate: Generate,
    limits: StreamLimits,
    settings: RedisSettings,
    createClient: CreateClient,
    logger: Logger,
    options: StreamRegistryOptions = {},
  ) {
    this.#limits = limits;
    this.#settings = settings;
    this.#logger = logger;
    this.#hasPrepare = options.hooks?.prepare !== undefined;
    this.#registry = new StreamRegistry(generate, limits, { ...options, store: this });
    this.#seats = new ReaderSeats(this.#node, limits, (args) => {
      if (this.#isUp) void this.#tryWrite('readers', args);
    });
    this.#timers = [
      // A recovery that failed is tried again.
      every(() => void (this.#isDegraded ? this.#recover() : this.#beat()), BEAT_MS),
      every(() => void this.#renew(), RENEW_MS),
      every(() => this.#checkWaiting(), LOCAL_AFTER_MS / 4),
    ];
    for (const timer of this.#timers) timer.unref();
    const { url, keyPrefix: prefix } = settings;
    this.#connection = new RedisConnection(
      { url, prefix, node: this.#node, logger },
      createClient,
      {
        onUp: () => void this.#recover(),
        onDown: () => this.#noteDown(),
        onMessage: (message) => this.#receive(message),
      },
    );
    const appenderOptions = { liveMs: LIVE_MS, retentionMs: this.#retentionMs };
    this.#appender = new Appender(this.#connection, appenderOptions, (w) => this.#targetOf(w), {
      onRefused: (target, result) => void this.#refused(target, result),
      onFull: () => this.#noteFull(),
      onRoundTrip: () => {},
    });
  }

  readonly counts: SharedCounts = {
    spend: async (counters) => {
      if (!this.#isUp) return undefined;
      const args = counters.flatMap(({ name, windowMs }) => [hash(name), windowMs]);
      const reply = await this.#tryWrite('spend', args);
      if (!Array.isArray(reply)) return undefined;
      return (reply as [number, number][]).map(([count, msLeft]) => ({ count, msLeft }));
    },
    forget: async (names) => {
      if (this.#isUp) await this.#tryWrite('unspend', names.map(hash));
    },
  };

  /** Resolves when Redis can be reached, after `timeoutMs` at the latest. */
  async reached(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (this.#isDegraded && performance.now() < until) await wait(REACHED_CHECK_MS);
    if (this.#isDegraded)
      this.#logger.error({ event: 'REDIS_NOT_REACHED', err: this.#connection.problem });
  }

  /** Why streams are not those of all processes at the moment; undefined if they are. */
  get problem(): string | undefined {
    if (this.#policy !== undefined && this.#policy !== 'noeviction') {
      return `redis: maxmemory-policy is ${this.#policy}, which drops streams; set it to noeviction`;
    }
    if (this.#isDegraded) return 'redis: not reached. The log says why';
    if (this.#isFull) return 'redis: its memory is used up. Raise maxmemory';
    return undefined;
  }

  get size(): RegistrySize {
    return this.#registry.size;
  }

  start(
    identity: StreamIdentity,
    request: GenerateRequest,
    connectionId?: string,
  ): Stream | Promise<Stream> {
    const identified = this.#registry.identify(request);
    const known = this.#registry.known(identity, identified);
    return known ?? this.#startAnywhere(identity, identified, connectionId);
  }

  get(principal: string, id: string): Stream | Promise<Stream> {
    return this.#registry.find(principal, id)?.stream ?? this.#find(principal, id);
  }

  async has(principal: string, id: string): Promise<boolean> {
    if (this.#registry.has(principal, id)) return true;
    if (!this.#isUp) return false;
    const reply = await this.#tryRead('peek', [sidOf(principal, id)]);
    return Array.isArray(reply) && reply.length > 0;
  }

  hasAny(principal: string): boolean {
    return this.#registry.hasAny(principal);
  }

  async cancel(stream: Stream): Promise<void> {
    const log = this.#logOf(stream);
    if (log === undefined || !this.#isUp || stream.log.done) return this.#registry.cancel(stream);
    const sid = sidOf(stream.principal, stream.id);
    const reply = await this.#tryWrite('cancel', this.#cancelArgs(sid, CANCELLED));
    if (!Array.isArray(reply)) return this.#registry.cancel(stream);
    const [result, head] = reply;
    if (result === 'ended') this.#endHere(log, sid, Number(head), CANCELLED);
    else if (result === 'gone') this.#registry.cancel(stream);
  }

  reply(stream: Stream, callId: string, reply: ToolReply): void {
    const log = this.#logOf(stream);
    if (log !== undefined && !log.isOwn && !stream.log.done) {
      throw new StreamError(
        'unsupported',
        'unable to answer the call: another server process generates the answer; reconnect to that one',
      );
    }
    this.#registry.reply(stream, callId, reply);
  }

  watch(principal: string, listener: (stream: ListedStream) => void): () => void {
    const listeners = this.#watchers.get(principal) ?? new Set();
    this.#watchers.set(principal, listeners.add(listener));
    // Redis tells of the streams that it has.
    const unwatch = this.#registry.watch(principal, (stream) => {
      if (!this.#isUp) listener(stream);
    });
    this.#subscribe(principal);
    return () => {
      unwatch();
      listeners.delete(listener);
      if (listeners.size === 0) this.#watchers.delete(principal);
      this.#unsubscribe(principal);
    };
  }

  async running(principal: string): Promise<readonly ListedStream[]> {
    const own = this.#registry.running(principal);
    if (!this.#isUp) return own;
    await this.#watched.get(principal)?.ready;
    const reply = await this.#tryRead('list', [hash(principal)]);
    if (!Array.isArray(reply)) return own;
    return (reply as [string, StreamStatus, string][]).map(([record, status, offset]) =>
      listedOf(JSON.parse(record) as StreamRecord, status, Number(offset), ''),
    );
  }

  forgetPrincipal(principal: string): void {
    this.#registry.forgetPrincipal(principal);
  }

  async forget(principal: string): Promise<void> {
    const id = JSON.stringify(principal);
    const entry = this.#cancelArgs('', FORGOTTEN).slice(1);
    if (this.#isUp) await this.#connection.write('forget', [hash(principal), id, ...entry]);
    await this.#registry.forget(principal);
  }

  async drain(drainMs: number): Promise<void> {
    this.#isDraining = true;
    await this.#registry.drain(drainMs, () => this.#handOver());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isDraining = true;
    for (const timer of this.#timers) clearInterval(timer);
    if (!this.#handOver()) this.#registry.close();
    // The ends of the streams leave first.
    setTimeout(() => this.#disconnect(), DISCONNECT_MS);
  }

  // What the registry asks for.

  createWriter(
    generation: Generation,
    prepared: PreparedRequest | undefined,
  ): LogWriter | undefined {
    const log = this.#byGeneration.get(generation);
    if (log === undefined) return undefined;
    if (prepared !== undefined) this.#keepPrepared(log, prepared);
    const writer = new RedisLogWriter(
      generation,
      log.fence === '0',
      (scheduled) => this.#appender.schedule(scheduled),
      () => this.#sendNews(log),
    );
    log.writer = writer;
    return writer;
  }

  onEnd(stream: Stream, entry: ErrorEntry): void {
    const log = this.#logOf(stream);
    if (log === undefined) return;
    const sid = sidOf(stream.principal, stream.id);
    log.endsToSend.set(sid, entry);
    if (this.#isUp) void this.#sendEnds(log);
  }

  isShared(generation: Generation): boolean {
    const log = this.#byGeneration.get(generation);
    return log !== undefined && log.fence !== '0' && this.#isUp && !this.#isDraining;
  }

  onReaderChange(stream: Stream, readerId: string | symbol, change: ReaderChange): void {
    this.#seats.change(sidOf(stream.principal, stream.id), readerId, change);
  }

  onAbandoned(stream: Stream): void {
    const log = this.#logOf(stream);
    if (log === undefined || !this.#isUp || log.fence === '0') return this.#registry.cancel(stream);
    if (!log.isOwn) return this.#registry.drop(stream);
    void this.#tryWrite('reap', this.#cancelArgs(sidOf(stream.principal, stream.id), CANCELLED));
  }

  onRemoved(stream: Stream, generation: Generation): void {
    const log = this.#byGeneration.get(generation);
    const sid = sidOf(stream.principal, stream.id);
    this.#seats.forget(stream, sid);
    if (log === undefined) return;
    log.streams.delete(sid);
    if (log.streams.size > 0 || (log.isOwn && !generation.log.done)) return;
    this.#endWriter(log);
    this.#logs.delete(log.gid);
    if (this.#isUp && !generation.log.done) void this.#tryWrite('unfollow', [log.gid, this.#node]);
  }

  get #isUp(): boolean {
    return !this.#isDegraded && this.#connection.isUp;
  }

  get #isFull(): boolean {
    return performance.now() < this.#fullUntil;
  }

  get #retentionMs(): number {
    return Math.max(1, this.#limits.finishedRetentionMs);
  }

  // Starting and finding.

  async #startAnywhere(
    identity: StreamIdentity,
    identified: IdentifiedRequest,
    connectionId: string | undefined,
  ): Promise<Stream> {
    const sid = sidOf(identity.principal, identity.id);
    for (let other = this.#opening.get(sid); other !== undefined; other = this.#opening.get(sid)) {
      await other.catch(() => {});
      const known = this.#registry.known(identity, identified);
      if (known !== undefined) return known;
    }
    return this.#alone(sid, () => this.#open(sid, identity, identified, connectionId));
  }

  async #open(
    sid: string,
    identity: StreamIdentity,
    identified: IdentifiedRequest,
    connectionId: string | undefined,
  ): Promise<Stream> {
    if (this.#isDraining) throw overloaded('the server is being shut down');
    const { principal } = identity;
    const { request, fingerprint } = identified;
    this.#registry.admit(principal, identified);
    const problem = this.#isUp ? this.problem : undefined;
    if (problem !== undefined)
      throw overloaded('the store of the streams has no room; try again soon');
    const record = recordOf(identity, randomUUID(), randomUUID());
    const json = JSON.stringify(record);
    const requestRecord: RequestRecord = { request, ...(connectionId && { connectionId }) };
    const mayShare = !this.#hasPrepare && isShared(request);
    const begin = (fence: string): Stream =>
      this.#registry.begin(identity, identified, connectionId, record, (stream, generation) => {
        const log = this.#addLog(record.requestId, generation);
        log.fence = fence;
        log.request = JSON.stringify(requestRecord);
        log.streams.set(sid, stream);
      });
    if (!this.#isUp) return begin('0');
    let reply: readonly Reply[];
    try {
      reply = (await this.#connection.write('open', [
        sid,
        hash(principal),
        fingerprint,
        mayShare ? fingerprint : '',
        record.requestId,
        this.#node,
        JSON.stringify(requestRecord),
        json,
        LIVE_MS,
        FIRST_READER_MS,
        this.#limits.maxStreamsPerPrincipal,
      ])) as readonly Reply[];
    } catch (cause) {
      if (cause instanceof LinkError) return begin('0');
      if (isFull(cause)) {
        this.#noteFull();
        throw overloaded('the store of the streams has no room; try again soon');
      }
      throw cause;
    }
    const [result, ...rest] = reply as [string, ...string[]];
    switch (result) {
      case 'yours':
        return begin('1');
      case 'conflict':
        throw conflict();
      case 'full':
        throw overloaded('too many of your answers are under way; wait for one to end');
      case 'join': {
        const [gid = ''] = rest;
        return this.#mirror(sid, gid, record, fingerprint, '', '');
      }
      default: {
        const [gid = '', known = '', knownAs = '', at = '', entry = ''] = rest;
        return this.#mirror(sid, gid, JSON.parse(known) as StreamRecord, knownAs, at, entry);
      }
    }
  }

  async #find(principal: string, id: string): Promise<Stream> {
    const sid = sidOf(principal, id);
    await this.#opening.get(sid)?.catch(() => {});
    const here = this.#registry.find(principal, id);
    if (here !== undefined) return here.stream;
    if (!this.#isUp) throw unreachable('find the stream');
    return this.#alone(sid, async () => {
      let reply: Reply;
      try {
        reply = await this.#connection.read('peek', [sid]);
      } catch (cause) {
        throw cause instanceof LinkError ? unreachable('find the stream') : cause;
      }
      const [gid, record, fingerprint = '', at = '', entry = ''] = reply as string[];
      if (gid === undefined || record === undefined) throw notFound();
      return this.#mirror(sid, gid, JSON.parse(record) as StreamRecord, fingerprint, at, entry);
    });
  }

  /** Adds a stream whose log another stream or another process began. */
  async #mirror(
    sid: string,
    gid: string,
    record: StreamRecord,
    fingerprint: string,
    at: string,
    entry: string,
  ): Promise<Stream> {
    const stream = this.#join(sid, gid, record, fingerprint);
    const log = this.#logs.get(gid)!;
    if (!log.isOwn && !log.generation.log.done && !(await this.#catchUp(log))) {
      this.#registry.drop(stream);
      throw this.#isUp ? notFound() : unreachable('find the stream');
    }
    if (at !== '') this.#endHere(log, sid, Number(at), JSON.parse(entry) as ErrorEntry);
    return stream;
  }

  #join(sid: string, gid: string, record: StreamRecord, fingerprint: string): Stream {
    const known = this.#registry.find(record.principal, record.id);
    if (known !== undefined) return known.stream;
    let log = this.#logs.get(gid);
    if (log === undefined) {
      log = this.#addLog(gid, this.#registry.createGeneration(undefined, 0, gid));
    }
    const { requestId, epoch } = record;
    const names = { requestId, answerId: gid, epoch };
    const identity = identityOf(record);
    const { stream } = this.#registry.join(log.generation, identity, names, fingerprint);
    log.streams.set(sid, stream);
    if (log.generation.log.done) this.#registry.finish(stream);
    return stream;
  }

  #addLog(gid: string, generation: Generation): SharedLog {
    const log = new SharedLog(gid, generation);
    this.#logs.set(gid, log);
    this.#byGeneration.set(generation, log);
    return log;
  }

  #logOf(stream: Stream): SharedLog | undefined {
    const owned = this.#registry.find(stream.principal, stream.id);
    return owned?.stream === stream ? this.#byGeneration.get(owned.generation) : undefined;
  }

  /** Runs `task` as the only one for a stream. */
  async #alone<T>(sid: string, task: () => Promise<T>): Promise<T> {
    const running = task();
    this.#opening.set(sid, running);
    try {
      return await running;
    } finally {
      if (this.#opening.get(sid) === running) this.#opening.delete(sid);
    }
  }

  // Following.

  /** Reads what is missing of a log that another process writes. @returns false if Redis does not have it. */
  #catchUp(log: SharedLog): Promise<boolean> {
    log.catchingUp ??= this.#readMissing(log).finally(() => {
      log.catchingUp = undefined;
    });
    return log.catchingUp;
  }

  async #readMissing(log: SharedLog): Promise<boolean> {
    let from = log.generation.log.head;
    let isWhole = from === 0;
    for (;;) {
      const reply = await this.#tryRead('follow', [log.gid, this.#node, from, PAGE_BYTES]);
      if (!Array.isArray(reply) || reply.length === 0) return false;
      log.misses = 0;
      type Page = [string, string, string, string, string, string, [string, string][]];
      const [headText, , , , attempt, news, pages] = reply as Page;
      const head = Number(headText);
      const { log: known } = log.generation;
      // A newer attempt may begin before what this process has.
      if (!isWhole && (head < from || Number(attempt) > (known.start?.attempt ?? 0))) {
        from = 0;
        isWhole = true;
        continue;
      }
      if (news !== '') log.setNews(JSON.parse(news) as NewsEntry);
      for (const [at, blob] of pages) {
        const entries = JSON.parse(blob) as Entry[];
        log.add(Number(at), entries);
        from = Number(at) + unitsOf(entries);
      }
      if (log.isOwn) return true;
      this.#finishIfDone(log);
      if (from >= head) return true;
      // Redis has lost a part of it.
      if (pages.length === 0) return false;
    }
  }

  #finishIfDone(log: SharedLog): void {
    if (!log.isOwn && log.generation.log.done) this.#registry.finishAll(log.generation);
  }

  #receive(json: string): void {
    for (const message of JSON.parse(json) as Message[]) {
      if (message[0] === 'beat') {
        this.#heardBeat = Math.max(this.#heardBeat, message[1]);
        continue;
      }
      if (message[0] === 'forget') {
        void this.#registry.forget(message[1]);
        continue;
      }
      const log = this.#logs.get(message[1]);
      if (log !== undefined) this.#handle(log, message);
    }
  }

  #handle(log: SharedLog, message: Exclude<Message, ['beat', number] | ['forget', string]>): void {
    switch (message[0]) {
      case 'append': {
        if (log.isOwn) return;
        const [, , at, , entries] = message;
        if (!log.add(at, entries)) void this.#catchUp(log);
        return this.#finishIfDone(log);
      }
      case 'join': {
        const [, gid, sid, fingerprint, record] = message;
        this.#join(sid, gid, record, fingerprint);
        return;
      }
      case 'end': {
        const [, , sid, head, entry] = message;
        if (log.isOwn || log.generation.log.head >= head)
          return this.#endHere(log, sid, head, entry);
        void this.#catchUp(log).then(() => this.#endHere(log, sid, head, entry));
        return;
      }
      case 'stop':
        return this.#stop(log, message[2]);
      case 'news':
        if (!log.isOwn) log.setNews(message[2]);
    }
  }

  /** Ends a stream here that was ended in Redis. */
  #endHere(log: SharedLog, sid: string, head: number, entry: ErrorEntry): void {
    const stream = log.streams.get(sid);
    if (stream === undefined || stream.log.done) return;
    this.#endedElsewhere.add(sid);
    this.#registry.end(stream, entry, head);
    this.#endedElsewhere.delete(sid);
  }

  readonly #endedElsewhere = new Set<string>();

  /** The last stream of a log was ended: nothing is generated any more. */
  #stop(log: SharedLog, entry: ErrorEntry): void {
    this.#endWriter(log);
    log.generation.abort(entry);
    for (const sid of log.streams.keys()) this.#endHere(log, sid, log.generation.log.head, entry);
    this.#registry.finishAll(log.generation);
  }

  #endWriter(log: SharedLog): void {
    const { writer } = log;
    log.writer = undefined;
    if (writer === undefined) return;
    this.#appender.forget(writer);
    writer.end();
  }

  async #sendEnds(log: SharedLog): Promise<void> {
    for (const [sid, entry] of log.endsToSend) {
      if (!this.#endedElsewhere.has(sid)) {
        const reply = await this.#tryWrite('cancel', this.#cancelArgs(sid, entry));
        if (reply === undefined) return;
      }
      log.endsToSend.delete(sid);
    }
  }

  #cancelArgs(sid: string, entry: ErrorEntry): [string, string, ErrorCode, number] {
    return [sid, JSON.stringify(entry), entry.code, this.#retentionMs];
  }

  #sendNews(log: SharedLog): void {
    const { news } = log.generation;
    if (news === undefined || !this.#isUp || log.fence === '0') return;
    const [stream] = log.streams.values();
    const status = stream?.status ?? 'waiting';
    void this.#tryWrite('news', [log.gid, log.fence, JSON.stringify(news), status]);
  }

  // Owning.

  #targetOf(writer: RedisLogWriter): AppendTarget | undefined {
    const log = this.#byGeneration.get(writer.generation);
    if (log?.writer !== writer || log.fence === '0') return undefined;
    return { gid: log.gid, fence: log.fence, writer };
  }

  async #refused({ gid, writer }: AppendTarget, result: AppendResult): Promise<void> {
    const log = this.#logs.get(gid);
    if (log === undefined || log.writer !== writer) return;
    if (result === 'gone') return this.#adoptOnce(log);
    if (result === 'stop') return this.#stop(log, CANCELLED);
    await this.#becomeFollower(log);
  }

  /** Another process writes the log now. */
  async #becomeFollower(log: SharedLog): Promise<void> {
    this.#logger.warn({ event: 'STREAM_TAKEN_OVER', requestId: log.gid });
    this.#endWriter(log);
    log.request = '';
    log.generation.stopRun(STREAM_LOST);
    await this.#catchUp(log);
  }

  #adoptOnce(log: SharedLog): Promise<void> {
    log.adopting ??= this.#adopt(log).finally(() => {
      log.adopting = undefined;
    });
    return log.adopting;
  }

  /** Puts back a log that Redis has lost, or never had. */
  async #adopt(log: SharedLog): Promise<void> {
    const { writer, generation } = log;
    if (writer === undefined || !writer.isCurrent) return;
    const streams = [...log.streams].filter(
      ([, { log: view }]) => !view.done || generation.log.done,
    );
    if (streams.length === 0) return;
    const fence = log.fence === '0' ? '1' : log.fence;
    const reply = await this.#tryWrite('adopt', [
      log.gid,
      fence,
      this.#node,
      log.request,
      generation.log.start?.attempt ?? 0,
      LIVE_MS,
      FIRST_READER_MS,
      ...streams.flatMap(([sid, stream]) => {
        const owned = this.#registry.find(stream.principal, stream.id);
        const record = recordOf(stream, stream.requestId, stream.epoch);
        return [sid, hash(stream.principal), owned?.fingerprint ?? '', JSON.stringify(record)];
      }),
    ]);
    if (!Array.isArray(reply) || !writer.isCurrent) return;
    const [result, before] = reply as [string, string?];
    if (result === 'taken') return;
    if (result === 'there' && before !== fence) return this.#becomeFollower(log);
    log.fence = fence;
    writer.startOver();
    this.#seats.renew();
  }

  /** Lets logs that this process owns be written again, as far as it still owns them. */
  async #resume(logs: readonly SharedLog[]): Promise<void> {
    for (let i = 0; i < logs.length; i += 100) {
      const part = logs.slice(i, i + 100);
      const reply = await this.#tryRead(
        'heads',
        part.map(({ gid }) => gid),
      );
      if (!Array.isArray(reply)) return;
      for (const [j, log] of part.entries()) {
        const [head = '-1', fence, done, stop] = reply[j] as string[];
        const { writer } = log;
        if (writer === undefined || !writer.isCurrent) continue;
        if (head === '-1') await this.#adoptOnce(log);
        else if (stop === '1') this.#stop(log, CANCELLED);
        else if (fence !== log.fence) await this.#becomeFollower(log);
        else if (writer.isLocal && done !== '1') writer.resume(Number(head));
      }
    }
  }

  // Faults.

  #noteDown(): void {
    this.#steadySince = undefined;
    if (this.#isDegraded || this.#isClosed) return;
    this.#isDegraded = true;
    this.#lostAt = performance.now();
    this.#logger.warn({ event: 'REDIS_LOST' });
  }

  #noteFull(): void {
    if (!this.#isFull) this.#logger.error({ event: 'REDIS_FULL' });
    this.#fullUntil = performance.now() + FULL_MS;
  }

  /** Redis can be reached, for the first time or again. */
  async #recover(): Promise<void> {
    if (this.#isClosed || this.#isRecovering || !this.#connection.isUp) return;
    this.#isRecovering = true;
    try {
      await this.#checkMemory();
      if (!(await this.#beat())) return;
    } finally {
      this.#isRecovering = false;
    }
    this.#isDegraded = false;
    this.#heardBeat = this.#beats;
    this.#steadySince = performance.now();
    this.#logger.info({
      event: 'REDIS_REACHED',
      lostMs: Math.round(performance.now() - this.#lostAt),
    });
    this.#appender.retry();
    const logs = [...this.#logs.values()];
    await this.#resume(logs.filter((log) => log.isOwn));
    for (const log of logs) {
      if (log.endsToSend.size > 0) await this.#sendEnds(log);
      if (!log.isOwn && !log.generation.log.done) await this.#catchUp(log);
    }
    this.#seats.renew();
  }

  /** Serves local readers without Redis where it has not answered for too long. */
  #checkWaiting(): void {
    const before = performance.now() - LOCAL_AFTER_MS;
    for (const { writer } of this.#logs.values()) {
      if (writer?.waitsSince === undefined || writer.waitsSince > before) continue;
      if (writer.isLocal) writer.stopCatchingUp();
      else if (!this.#connection.isUp || this.#isFull) writer.goLocal();
    }
  }

  async #beat(): Promise<boolean> {
    if (this.#isClosed || this.#hasLeft || this.#isBeating || !this.#connection.isUp) return false;
    this.#isBeating = true;
    try {
      const sent = ++this.#beats;
      const reply = await this.#connection.write('beat', [
        this.#node,
        LEASE_MS,
        LIVE_MS,
        ...this.#cancelArgs('', CANCELLED).slice(1),
        sent,
      ]);
      const [others, dead] = reply as [number, string[]];
      this.#hasOthers = others > 0;
      if (this.#isDegraded) return true;
      if (sent - this.#heardBeat > 2) {
        this.#heardBeat = sent;
        this.#connection.reopenSubscriber();
      }
      await this.#checkMemory();
      await this.#checkLogs();
      if (dead.length > 0) void this.#claimFrom(dead);
      return true;
    } catch (cause) {
      if (!(cause instanceof LinkError)) this.#logger.error({ event: 'REDIS_FAILED', err: cause });
      return false;
    } finally {
      this.#isBeating = false;
    }
  }

  /** Looks at logs that were silent, and at own ones that Redis did not take. */
  async #checkLogs(): Promise<void> {
    const before = performance.now() - SILENT_MS;
    const logs = [...this.#logs.values()];
    await this.#resume(logs.filter((log) => log.isOwn && log.writer?.isLocal === true));
    const silent = logs.filter(
      ({ isOwn, generation, heardAt }) => !isOwn && !generation.log.done && heardAt < before,
    );
    for (let i = 0; i < silent.length; i += 100) {
      const part = silent.slice(i, i + 100);
      const reply = await this.#tryRead(
        'heads',
        part.map(({ gid }) => gid),
      );
      if (!Array.isArray(reply)) return;
      for (const [j, log] of part.entries()) {
        const [head = '-1', , done] = reply[j] as string[];
        log.heardAt = performance.now();
        if (head === '-1') log.misses += 1;
        if (log.misses >= MAX_MISSES) this.#loseStreams(log);
        else if (Number(head) > log.generation.log.head) await this.#catchUp(log);
        else if (done === '1' && Number(head) < log.generation.log.head) this.#loseStreams(log);
      }
    }
  }

  /** The rest of a log cannot be had any more. */
  #loseStreams(log: SharedLog): void {
    for (const stream of log.streams.values()) this.#registry.end(stream, STREAM_LOST);
  }

  async #checkMemory(): Promise<void> {
    try {
      const info = String(await this.#connection.command('INFO', 'memory'));
      const read = (name: string): string | undefined =>
        new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
      const most = Number(read('maxmemory'));
      const policy = most > 0 ? read('maxmemory_policy') : 'noeviction';
      if (policy !== this.#policy && policy !== 'noeviction') {
        this.#logger.error({ event: 'REDIS_EVICTS', policy });
      }
      this.#policy = policy;
      if (most > 0 && Number(read('used_memory')) > most * MAX_USED_SHARE) this.#noteFull();
    } catch {
      // The next beat looks again.
    }
  }

  // Taking over.

  async #claimFrom(dead: readonly string[]): Promise<void> {
    if (this.#isDraining) return;
    await wait(Math.random() * CLAIM_JITTER_MS, undefined, { ref: false });
    const { onNodeLoss } = this.#settings;
    for (const node of dead) {
      for (;;) {
        const isSteady =
          this.#steadySince !== undefined && performance.now() - this.#steadySince > STEADY_MS;
        if (!isSteady || this.#isClosed || !this.#isUp) return;
        const reply = await this.#tryWrite('claim', [node, this.#node, MAX_CLAIMED, LIVE_MS]);
        if (!Array.isArray(reply) || reply.length === 0) break;
        const claimed = reply as [
          string,
          string,
          string,
          string,
          string,
          [string, string, string][],
        ][];
        for (const [gid, fence, , , request, streams] of claimed) {
          await this.#takeOver(gid, fence, request, streams, onNodeLoss);
        }
      }
    }
  }

  async #takeOver(
    gid: string,
    fence: string,
    request: string,
    streams: readonly [sid: string, record: string, fingerprint: string][],
    onNodeLoss: 'restart' | 'fail',
  ): Promise<void> {
    for (const [sid, record, fingerprint] of streams) {
      this.#join(sid, gid, JSON.parse(record) as StreamRecord, fingerprint);
    }
    const log = this.#logs.get(gid);
    if (log === undefined) return;
    await log.catchingUp;
    if (!(await this.#catchUp(log)) || log.generation.log.done) return;
    const { request: asked, prepared, connectionId } = JSON.parse(request) as RequestRecord;
    const { generation } = log;
    log.fence = fence;
    log.request = request;
    generation.request = asked;
    generation.requestBytes = 2 * request.length;
    const resumed = resumedFrom(generation.log);
    this.#logger.warn({
      event: 'STREAM_RESUMED_AFTER_LOSS',
      requestId: gid,
      attempt: resumed.attempt + 1,
    });
    if (onNodeLoss === 'fail' || resumed.attempt >= MAX_ATTEMPTS) {
      const writer = this.createWriter(generation, undefined);
      void writer?.write(STREAM_LOST);
      if ((await writer?.settle()) === true) this.#registry.finishAll(generation);
      return;
    }
    const [stream] = log.streams.values();
    const owned = stream && this.#registry.find(stream.principal, stream.id);
    if (this.#hasPrepare && prepared === undefined && owned !== undefined) {
      const { body } = this.#registry.identify(asked);
      void this.#registry.prepareAndRun(owned, asked, body, connectionId, resumed);
    } else void this.#registry.run(generation, asked, prepared, connectionId, resumed);
  }

  /** A process that takes over does not call `prepare` again. */
  #keepPrepared(log: SharedLog, prepared: PreparedRequest): void {
    const record = JSON.parse(log.request) as RequestRecord;
    log.request = JSON.stringify({ ...record, prepared });
    if (this.#isUp) void this.#tryWrite('request', [log.gid, log.fence, log.request]);
  }

  /** Leaves the logs of this process to the others. @returns false if there are none, or Redis is away. */
  #handOver(): boolean {
    if (this.#hasLeft) return true;
    if (!this.#hasOthers || !this.#isUp) return false;
    this.#hasLeft = true;
    const own = [...this.#logs.values()].filter((log) => log.isOwn && !log.generation.log.done);
    for (const log of own) {
      this.#endWriter(log);
      log.generation.stopRun(SHUT_DOWN);
    }
    void this.#leave(own);
    return true;
  }

  async #leave(logs: readonly SharedLog[]): Promise<void> {
    await this.#tryWrite('leave', [this.#node, LIVE_MS]);
    // The readers of this process read on for as long as it runs.
    for (const log of logs) if (!this.#isClosed) await this.#catchUp(log);
  }

  #disconnect(): void {
    this.#appender.close();
    this.#connection.close();
  }

  async #renew(): Promise<void> {
    if (!this.#isUp) return;
    this.#seats.renew();
    const own = [...this.#logs.values()].filter((log) => log.isOwn && log.fence !== '0');
    for (let i = 0; i < own.length; i += 100) {
      await this.#tryWrite('renew', [LIVE_MS, ...own.slice(i, i + 100).map(({ gid }) => gid)]);
    }
  }

  // Watching.

  #subscribe(principal: string): void {
    const watched = this.#watched.get(principal);
    if (watched !== undefined) {
      watched.count += 1;
      return;
    }
    const ready = this.#connection
      .subscribe(`pc:${hash(principal)}`, (json) => {
        const { status, offset, code, record } = JSON.parse(json) as {
          status: StreamStatus;
          offset: number;
          code: ErrorCode | '';
          record: StreamRecord;
        };
        const listed = listedOf(record, status, offset, code);
        for (const listener of this.#watchers.get(principal) ?? []) listener(listed);
      })
      .catch(() => {});
    this.#watched.set(principal, { count: 1, ready });
  }

  #unsubscribe(principal: string): void {
    const watched = this.#watched.get(principal);
    if (watched === undefined) return;
    watched.count -= 1;
    if (watched.count > 0) return;
    this.#watched.delete(principal);
    this.#connection.unsubscribe(`pc:${hash(principal)}`).catch(() => {});
  }

  /** @returns undefined if Redis did not answer, or refused. */
  async #tryWrite(
    ...[name, args]: Parameters<RedisConnection['write']>
  ): Promise<Reply | undefined> {
    return this.#try(this.#connection.write(name, args));
  }

  async #tryRead(...[name, args]: Parameters<RedisConnection['read']>): Promise<Reply | undefined> {
    return this.#try(this.#connection.read(name, args));
  }

  async #try(reply: Promise<Reply>): Promise<Reply | undefined> {
    try {
      return await reply;
    } catch (cause) {
      if (isFull(cause)) this.#noteFull();
      else if (!(cause instanceof LinkError))
        this.#logger.error({ event: 'REDIS_FAILED', err: cause });
      return undefined;
    }
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** The key of a stream. The principal is a part of it, so that another's stream cannot be named. */
function sidOf(principal: string, id: string): string {
  return hash(JSON.stringify([principal, id]));
}

function recordOf(identity: StreamIdentity, requestId: string, epoch: string): StreamRecord {
  const { principal, id, sessionId, query, omittedMessages = 0, continuedUnits = 0 } = identity;
  const session = sessionId !== undefined && { sessionId };
  return {
    principal,
    id,
    ...session,
    query,
    omitted: omittedMessages,
    continued: continuedUnits,
    requestId,
    epoch,
  };
}

function identityOf({ omitted, continued, ...record }: StreamRecord): StreamIdentity {
  const { principal, id, sessionId, query } = record;
  return { principal, id, sessionId, query, omittedMessages: omitted, continuedUnits: continued };
}

function listedOf(
  { id, sessionId, query }: StreamRecord,
  status: StreamStatus,
  offset: number,
  code: ErrorCode | '',
): ListedStream {
  return { id, sessionId, query, status, offset, code: code === '' ? undefined : code };
}
