import type { PreparedRequest } from '../../hooks.js';
import { hash } from '../../redis/hash.js';
import type { Generation } from '../generation.js';
import { CANCELLED, FORGOTTEN } from '../stream-registry.js';
import { Appender, type AppendTarget } from './appender.js';
import { FIRST_READER_MS, LIVE_MS, LOCAL_AFTER_MS, type RedisContext } from './context.js';
import { type Follower, MAX_HEADS } from './follower.js';
import { type AppendResult, RedisLogWriter } from './log-writer.js';
import { recordOf, type RequestRecord, retentionMs } from './records.js';
import { type SharedLog, STREAM_LOST } from './shared-log.js';
import type { StreamEnds } from './stream-ends.js';
import type { Subscriptions } from './subscriptions.js';

/** Writes the logs that this process owns. */
export class Owner {
  readonly #context: RedisContext;
  readonly #ends: StreamEnds;
  readonly #follower: Follower;
  readonly #subscriptions: Subscriptions;
  readonly #appender: Appender;
  /** When `checkWaiting` was called last. */
  #checkedAt = performance.now();
  /** When this process went on last after it had been stopped or blocked. */
  #blockedAt = -Infinity;

  constructor(
    context: RedisContext,
    ends: StreamEnds,
    follower: Follower,
    subscriptions: Subscriptions,
  ) {
    this.#context = context;
    this.#ends = ends;
    this.#follower = follower;
    this.#subscriptions = subscriptions;
    const { store, limits } = context;
    const times = { liveMs: LIVE_MS, retentionMs: retentionMs(limits) };
    this.#appender = new Appender(store, times, (writer) => this.#targetOf(writer), {
      onRefused: (target, result) => void this.#refused(target, result),
      onRoundTrip: (ms) => context.metrics.appendSeconds.record(ms / 1000),
    });
  }

  /** @returns undefined if `generation` has no log that processes share. */
  createWriter(
    generation: Generation,
    prepared: PreparedRequest | undefined,
  ): RedisLogWriter | undefined {
    const log = this.#context.logs.of(generation);
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

  /** Redis can be used again: sends what it has not taken. */
  async recover(): Promise<void> {
    this.#appender.retry();
    await this.#resume(this.#context.logs.own());
  }

  /** Sends logs that were written without Redis. */
  async resumeLocal(): Promise<void> {
    await this.#resume(this.#context.logs.own().filter(({ writer }) => writer?.isLocal === true));
  }

  /** Tells Redis of generations that paused or went on while it was away. */
  async checkPaused(): Promise<void> {
    for (const log of this.#context.logs.own()) await this.sendPaused(log);
  }

  /** Tells Redis whether the generation waits for a client, if that has changed. */
  async sendPaused(log: SharedLog): Promise<void> {
    const { store, limits } = this.#context;
    const { isPaused } = log.generation.calls;
    if (!log.isOwn || !store.isUp || log.fence === '0' || isPaused === log.sentPaused) return;
    log.sentPaused = isPaused;
    const [stream] = log.streams.values();
    const status = isPaused ? 'paused' : (stream?.status ?? 'waiting');
    const args = [log.gid, log.fence, isPaused ? '1' : '', status, limits.disconnectTimeoutMs];
    const reply = await store.tryWrite('pause', args);
    if (reply === undefined) log.sentPaused = undefined;
  }

  /** Serves local readers without Redis where it has not answered for too long. */
  checkWaiting(): void {
    const { logs, store } = this.#context;
    const now = performance.now();
    // While this process was stopped or blocked, Redis could not answer it.
    if (now - this.#checkedAt > LOCAL_AFTER_MS) this.#blockedAt = now;
    this.#checkedAt = now;
    const before = now - LOCAL_AFTER_MS;
    if (this.#blockedAt > before) return;
    for (const { writer } of logs) {
      if (writer?.waitsSince === undefined || writer.waitsSince > before) continue;
      if (writer.isLocal) writer.stopCatchingUp();
      else if (!store.isUp || store.isFull) writer.goLocal();
    }
  }

  /** Renews the lives of the keys of running logs. */
  async renew(): Promise<void> {
    const own = this.#context.logs.own().filter(({ fence }) => fence !== '0');
    for (let i = 0; i < own.length; i += MAX_HEADS) {
      const gids = own.slice(i, i + MAX_HEADS).map(({ gid }) => gid);
      await this.#context.store.tryWrite('renew', [LIVE_MS, ...gids]);
    }
  }

  close(): void {
    this.#appender.close();
  }

  #targetOf(writer: RedisLogWriter): AppendTarget | undefined {
    const log = this.#context.logs.of(writer.generation);
    if (log?.writer !== writer || log.fence === '0') return undefined;
    return { gid: log.gid, fence: log.fence, writer };
  }

  async #refused({ gid, writer }: AppendTarget, result: AppendResult): Promise<void> {
    const log = this.#context.logs.get(gid);
    if (log === undefined || log.writer !== writer) return;
    if (result === 'gone') return this.#adoptOnce(log);
    if (result === 'stop') return this.#ends.stop(log, CANCELLED);
    await this.#becomeFollower(log);
  }

  /** Another process writes the log now. */
  async #becomeFollower(log: SharedLog): Promise<void> {
    this.#context.logger.warn({ event: 'STREAM_TAKEN_OVER', requestId: log.gid });
    log.endWriter();
    log.request = '';
    // The other process calls `onEnd`.
    log.generation.request = undefined;
    log.generation.stopRun(STREAM_LOST);
    await this.#follower.catchUp(log);
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
    const { node, registry, store } = this.#context;
    const fence = log.fence === '0' ? '1' : log.fence;
    const reply = await store.tryWrite('adopt', [
      log.gid,
      fence,
      node,
      log.request,
      generation.log.start?.attempt ?? 0,
      LIVE_MS,
      FIRST_READER_MS,
      ...streams.flatMap(([sid, stream]) => {
        const owned = registry.find(stream.principal, stream.id);
        const record = recordOf(stream, stream.requestId, stream.epoch);
        return [sid, hash(stream.principal), owned?.fingerprint ?? '', JSON.stringify(record)];
      }),
    ]);
    if (!Array.isArray(reply) || !writer.isCurrent) return;
    const [result, before] = reply as [string, string?];
    // Another stream has the id of one of these: their readers are those of this process.
    if (result === 'taken') return writer.goLocal();
    if (result === 'removed') return this.#drop(log);
    if (result === 'there' && before !== fence) return this.#becomeFollower(log);
    log.fence = fence;
    log.sentPaused = false;
    writer.startOver();
    void this.sendPaused(log);
    this.#subscriptions.renew();
  }

  /** The principal of the log is forgotten, and the message did not reach this process, or not yet. */
  #drop(log: SharedLog): void {
    const streams = [...log.streams.values()];
    this.#ends.stop(log, FORGOTTEN);
    for (const stream of streams) this.#context.registry.drop(stream, FORGOTTEN);
  }

  /** Lets logs be written to Redis again, as far as this process still owns them. */
  async #resume(logs: readonly SharedLog[]): Promise<void> {
    for (let i = 0; i < logs.length; i += MAX_HEADS) {
      const part = logs.slice(i, i + MAX_HEADS);
      const gids = part.map(({ gid }) => gid);
      const reply = await this.#context.store.tryRead('heads', gids);
      if (!Array.isArray(reply)) return;
      for (const [j, log] of part.entries()) {
        const [head = '-1', fence, done, stop] = reply[j] as string[];
        const { writer } = log;
        if (writer === undefined || !writer.isCurrent) continue;
        // A log of fence 0 may be in Redis, too: the reply to its start was lost.
        if (head === '-1' || log.fence === '0') await this.#adoptOnce(log);
        else if (stop === '1') this.#ends.stop(log, CANCELLED);
        else if (fence !== log.fence) await this.#becomeFollower(log);
        else if (writer.isLocal && done !== '1') writer.resume(Number(head));
      }
    }
  }

  /** A process that takes over does not call `prepare` again. */
  #keepPrepared(log: SharedLog, prepared: PreparedRequest): void {
    const { store } = this.#context;
    const record = JSON.parse(log.request) as RequestRecord;
    log.request = JSON.stringify({ ...record, prepared });
    if (store.isUp) void store.tryWrite('request', [log.gid, log.fence, log.request]);
  }

  #sendNews(log: SharedLog): void {
    const { store } = this.#context;
    const { news } = log.generation;
    if (news === undefined || !store.isUp || log.fence === '0') return;
    const [stream] = log.streams.values();
    const status = stream?.status ?? 'waiting';
    void store.tryWrite('news', [log.gid, log.fence, JSON.stringify(news), status]);
  }
}
