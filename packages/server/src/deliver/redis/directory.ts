import { randomUUID } from 'node:crypto';
import { setInterval as every } from 'node:timers';
import type { MeterProvider } from '@opentelemetry/api';
import type { StreamStatus } from '@rivulet/protocol';
import type { ErrorEntry } from '../../entry.js';
import type { PreparedRequest } from '../../hooks.js';
import type { Logger } from '../../observe/logger.js';
import { createRedisMetrics } from '../../observe/redis-metrics.js';
import type { CreateClient } from '../../redis/connection/link.js';
import { hash } from '../../redis/hash.js';
import type { GenerateRequest } from '../../request.js';
import type { ToolReply } from '../../tool-replies.js';
import type { Generate, Generation, LogWriter } from '../generation.js';
import type { LogStore } from '../log-store.js';
import type { ListedStream, ReaderChange, Stream, StreamIdentity } from '../stream.js';
import type { RegistrySize, SharedCounts, StreamDirectory } from '../stream-directory.js';
import {
  FORGOTTEN,
  type StreamLimits,
  StreamRegistry,
  type StreamRegistryOptions,
} from '../stream-registry.js';
import { LIVE_MS, LOCAL_AFTER_MS, type RedisContext, type RedisSettings } from './context.js';
import { Follower } from './follower.js';
import { BEAT_MS, Heartbeat } from './heartbeat.js';
import { Opener } from './opener.js';
import { Owner } from './owner.js';
import {
  endArgs,
  listedOf,
  type LogMessage,
  type Message,
  sidOf,
  type StreamRecord,
} from './records.js';
import { Replies } from './replies.js';
import { SharedLogs } from './shared-log.js';
import { RedisStore } from './store.js';
import { StreamEnds } from './stream-ends.js';
import { Subscriptions } from './subscriptions.js';
import { Takeover } from './takeover.js';
import { Watchers } from './watchers.js';

const RENEW_MS = 20_000;
const DISCONNECT_MS = 100;

export interface RedisStreamDirectoryOptions extends StreamRegistryOptions {
  /** Receives the metrics; the process's global meter provider unless given. */
  meterProvider?: MeterProvider | undefined;
}

/**
 * The streams of all processes that share a Redis. Each log has one process that writes it, its owner; the
 * others follow it. Readers read the log of their process. See `docs/scaling.md`.
 */
export class RedisStreamDirectory implements StreamDirectory, LogStore {
  readonly #context: RedisContext;
  readonly #registry: StreamRegistry;
  readonly #logs: SharedLogs;
  readonly #store: RedisStore;
  readonly #subscriptions: Subscriptions;
  readonly #ends: StreamEnds;
  readonly #follower: Follower;
  readonly #owner: Owner;
  readonly #replies: Replies;
  readonly #opener: Opener;
  readonly #takeover: Takeover;
  readonly #watchers: Watchers;
  readonly #heartbeat: Heartbeat;
  readonly #timers: NodeJS.Timeout[];
  readonly #stopObserving: () => void;
  #isRecovering = false;
  #isDraining = false;
  #isClosed = false;

  /** Connects to Redis. While it cannot be reached, streams are those of this process. */
  constructor(
    generate: Generate,
    limits: StreamLimits,
    settings: RedisSettings,
    createClient: CreateClient | Promise<CreateClient>,
    logger: Logger,
    { meterProvider, ...options }: RedisStreamDirectoryOptions = {},
  ) {
    const { url, ca, keyPrefix: prefix } = settings;
    const node = randomUUID();
    const hasPrepare = options.hooks?.prepare !== undefined;
    const registry = new StreamRegistry(generate, limits, { ...options, store: this });
    const store = new RedisStore({ url, ca, prefix, node, logger }, createClient, {
      onConnected: () => void this.#recover(),
      onMessage: (message) => this.#receive(message),
    });
    const logs = new SharedLogs(registry);
    const metrics = createRedisMetrics(meterProvider);
    this.#stopObserving = metrics.observe(() => store.problem !== undefined);
    const own = { store, registry, logs };
    const context: RedisContext = { node, settings, limits, logger, metrics, ...own };
    this.#context = context;
    this.#registry = registry;
    this.#logs = logs;
    this.#store = store;
    this.#subscriptions = new Subscriptions(node, limits, (args) => {
      if (store.isUp) void store.tryWrite('readers', args);
    });
    this.#ends = new StreamEnds(context);
    this.#follower = new Follower(context, this.#ends);
    this.#owner = new Owner(context, this.#ends, this.#follower, this.#subscriptions);
    this.#replies = new Replies(context, this.#follower);
    this.#opener = new Opener(context, this.#follower, this.#ends, hasPrepare);
    this.#takeover = new Takeover(context, this.#follower, this.#owner, this.#replies, hasPrepare);
    this.#watchers = new Watchers(store);
    this.#heartbeat = new Heartbeat(context, {
      onBeat: async (ownership) => {
        await this.#owner.resumeLocal();
        await this.#owner.checkPaused();
        await this.#replies.check();
        await this.#follower.checkSilent();
        void this.#takeover.claim(ownership);
      },
    });
    this.#timers = [
      // A recovery that failed is tried again.
      every(() => void (store.isDegraded ? this.#recover() : this.#heartbeat.beat()), BEAT_MS),
      every(() => void this.#renew(), RENEW_MS),
      every(() => this.#owner.checkWaiting(), LOCAL_AFTER_MS / 4),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  readonly counts: SharedCounts = {
    spend: async (counters) => {
      if (!this.#store.isUp) return undefined;
      const args = counters.flatMap(({ name, windowMs }) => [hash(name), windowMs]);
      const reply = await this.#store.tryWrite('spend', args);
      if (!Array.isArray(reply)) return undefined;
      return (reply as [number, number][]).map(([count, msLeft]) => ({ count, msLeft }));
    },
    forget: async (names) => {
      if (this.#store.isUp) await this.#store.tryWrite('unspend', names.map(hash));
    },
  };

  /** See `RedisStore`. */
  reached(timeoutMs: number, known?: unknown): Promise<void> {
    return this.#store.reached(timeoutMs, known);
  }

  /** The reason for which streams are not shared at the moment; undefined if they are. */
  get problem(): string | undefined {
    return this.#store.problem;
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
    if (known !== undefined && !this.#opener.isReading(known)) return known;
    return this.#opener.start(identity, identified, connectionId);
  }

  get(principal: string, id: string): Stream | Promise<Stream> {
    const known = this.#registry.find(principal, id)?.stream;
    if (known !== undefined && !this.#opener.isReading(known)) return known;
    return this.#opener.find(principal, id);
  }

  async has(principal: string, id: string): Promise<boolean> {
    if (this.#registry.has(principal, id)) return true;
    if (!this.#store.isUp) return false;
    const reply = await this.#store.tryRead('peek', [sidOf(principal, id)]);
    return Array.isArray(reply) && reply.length > 0;
  }

  hasAny(principal: string): boolean {
    return this.#registry.hasAny(principal);
  }

  reply(stream: Stream, callId: string, reply: ToolReply): Promise<void> {
    return this.#replies.reply(stream, callId, reply);
  }

  cancel(stream: Stream): Promise<void> {
    return this.#ends.cancel(stream);
  }

  watch(principal: string, listener: (stream: ListedStream) => void): () => void {
    // Redis publishes the changes of the streams that it has.
    const unwatchLocal = this.#registry.watch(principal, (stream) => {
      if (!this.#store.isUp) listener(stream);
    });
    const unwatch = this.#watchers.add(principal, listener);
    return () => {
      unwatchLocal();
      unwatch();
    };
  }

  async running(principal: string): Promise<readonly ListedStream[]> {
    const own = this.#registry.running(principal);
    if (!this.#store.isUp) return own;
    await this.#watchers.ready(principal);
    const reply = await this.#store.tryRead('list', [hash(principal)]);
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
    const args = [hash(principal), id, ...endArgs(FORGOTTEN, this.#context.limits), LIVE_MS];
    try {
      await this.#store.write('forget', args);
    } catch (cause) {
      const reason = 'Redis does not answer; call `forget` again once it does';
      throw new Error(`unable to remove the streams of a user: ${reason}`, { cause });
    } finally {
      await this.#registry.forget(principal);
    }
  }

  async drain(drainMs: number): Promise<void> {
    this.#stopTaking();
    void this.#heartbeat.beat();
    await this.#registry.drain(drainMs, async () => {
      // Others may have begun to drain since the last heartbeat.
      await this.#heartbeat.beat();
      return this.#takeover.handOver(this.#heartbeat, false);
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopTaking();
    this.#heartbeat.stop();
    this.#stopObserving();
    for (const timer of this.#timers) clearInterval(timer);
    if (!this.#takeover.handOver(this.#heartbeat, true)) this.#registry.close();
    // The ends of the streams leave first.
    setTimeout(() => {
      this.#owner.close();
      this.#store.close();
    }, DISCONNECT_MS);
  }

  // The callbacks of the registry to its log store.

  createWriter(
    generation: Generation,
    prepared: PreparedRequest | undefined,
  ): LogWriter | undefined {
    const writer = this.#owner.createWriter(generation, prepared);
    const log = this.#logs.of(generation);
    // The streams may have left before the log is complete.
    if (log !== undefined) void writer?.settle().then(() => this.#ends.release(log));
    return writer;
  }

  findFlight(
    stream: Stream,
    generation: Generation,
    fingerprint: string,
  ): Promise<Generation | undefined> {
    return this.#opener.findFlight(stream, generation, fingerprint);
  }

  isDetached(stream: Stream): boolean {
    const log = this.#context.logs.ofStream(stream);
    if (log === undefined || log.fence === '0') return stream.isDetached;
    return log.detached.has(sidOf(stream.principal, stream.id));
  }

  onEnd(stream: Stream, entry: ErrorEntry): void {
    this.#ends.note(stream, entry);
  }

  isShared(generation: Generation): boolean {
    const log = this.#logs.of(generation);
    if (log === undefined) return false;
    return log.isMirror || (this.#store.isUp && !this.#isDraining && log.fence !== '0');
  }

  onPausedChange(generation: Generation): void {
    const log = this.#logs.of(generation);
    if (log !== undefined) void this.#owner.sendPaused(log);
  }

  onCallTimeout(generation: Generation, callId: string): Promise<ToolReply | undefined> {
    return this.#replies.close(generation, callId);
  }

  onReaderChange(stream: Stream, readerId: string | symbol, change: ReaderChange): void {
    this.#subscriptions.change(sidOf(stream.principal, stream.id), readerId, change);
  }

  onAbandoned(stream: Stream): void {
    this.#ends.abandon(stream);
  }

  onRemoved(stream: Stream, generation: Generation): void {
    const log = this.#logs.of(generation);
    const sid = sidOf(stream.principal, stream.id);
    this.#subscriptions.forget(stream, sid);
    log?.streams.delete(sid);
    if (log !== undefined) this.#ends.release(log);
  }

  #stopTaking(): void {
    this.#isDraining = true;
    this.#heartbeat.drain();
    this.#opener.stop();
    this.#takeover.stop();
  }

  #receive(json: string): void {
    for (const message of JSON.parse(json) as Message[]) {
      if (message[0] === 'beat') this.#heartbeat.hear(message[1]);
      else if (message[0] === 'forget') void this.#registry.forget(message[1]);
      else this.#receiveOfLog(message);
    }
  }

  #receiveOfLog(message: LogMessage): void {
    const log = this.#logs.get(message[1]);
    if (log === undefined) return;
    if (message[0] === 'reply') this.#replies.receive(log, message[2], message[3]);
    else this.#follower.receive(log, message);
  }

  /** Redis can be reached, for the first time or again. */
  async #recover(): Promise<void> {
    const { logs } = this.#context;
    const store = this.#store;
    if (this.#isClosed || this.#isRecovering || !store.isConnected) return;
    this.#isRecovering = true;
    try {
      await store.checkMemory();
      if (!(await this.#heartbeat.beat())) return;
    } finally {
      this.#isRecovering = false;
    }
    store.noteReached();
    this.#heartbeat.restart();
    await this.#owner.recover();
    for (const log of logs) {
      // Messages about readers may be lost.
      log.detached.clear();
      if (log.endsToSend.size > 0) await this.#ends.send(log);
      if (!log.isOwn && !log.generation.log.done) await this.#follower.catchUp(log);
    }
    await this.#follower.checkEnds(logs);
    this.#subscriptions.renew();
  }

  async #renew(): Promise<void> {
    if (!this.#store.isUp) return;
    this.#subscriptions.renew();
    await this.#owner.renew();
  }
}
