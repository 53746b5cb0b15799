import { randomUUID } from 'node:crypto';
import type { ErrorEntry } from '../../entry.js';
import { isFull } from '../../redis/connection/connection.js';
import { LinkError, type Reply } from '../../redis/connection/link.js';
import { hash } from '../../redis/hash.js';
import { draining, overloaded } from '../eviction.js';
import type { Generation } from '../generation.js';
import { canShare } from '../single-flight.js';
import type { Stream, StreamIdentity } from '../stream.js';
import { conflict, type IdentifiedRequest, notFound } from '../stream-registry.js';
import {
  FIRST_READER_MS,
  LIVE_MS,
  LOCAL_AFTER_MS,
  type RedisContext,
  unreachable,
} from './context.js';
import type { Follower } from './follower.js';
import { recordOf, type RequestRecord, sidOf, type StreamRecord } from './records.js';
import type { SharedLog } from './shared-log.js';
import type { StreamEnds } from './stream-ends.js';

/** A stream that Redis knows. */
interface KnownStream {
  readonly gid: string;
  readonly record: StreamRecord;
  readonly fingerprint: string;
  /** Its own end, if it has one: the offset, and the entry as JSON. Both are empty if not. */
  readonly end: readonly [at: string, entry: string];
}

/** Starts streams, and finds those of other processes. */
export class Opener {
  readonly #context: RedisContext;
  readonly #follower: Follower;
  readonly #ends: StreamEnds;
  readonly #hasPrepare: boolean;
  /** Streams that are being opened or looked up. */
  readonly #opening = new Map<string, Promise<unknown>>();
  #isStopped = false;

  constructor(context: RedisContext, follower: Follower, ends: StreamEnds, hasPrepare: boolean) {
    this.#context = context;
    this.#follower = follower;
    this.#ends = ends;
    this.#hasPrepare = hasPrepare;
  }

  /** Starts no new stream from now on. */
  stop(): void {
    this.#isStopped = true;
  }

  /** @returns true while the log of a stream of this process is being read from Redis, so that a part may be missing. */
  isReading(stream: Stream): boolean {
    if (this.#context.logs.ofStream(stream)?.catchingUp !== undefined) return true;
    return this.#opening.size > 0 && this.#opening.has(sidOf(stream.principal, stream.id));
  }

  /** Starts a stream, or gives the one that any process has. @throws {StreamError} conflict, overloaded. */
  async start(
    identity: StreamIdentity,
    identified: IdentifiedRequest,
    connectionId: string | undefined,
  ): Promise<Stream> {
    const sid = sidOf(identity.principal, identity.id);
    for (let other = this.#opening.get(sid); other !== undefined; other = this.#opening.get(sid)) {
      await other.catch(() => {});
    }
    const known = this.#context.registry.known(identity, identified);
    if (known !== undefined) return this.#whenRead(known);
    return this.#alone(sid, () => this.#open(sid, identity, identified, connectionId));
  }

  /** @throws {StreamError} not_found; overloaded, if Redis cannot be reached. */
  async find(principal: string, id: string): Promise<Stream> {
    const sid = sidOf(principal, id);
    await this.#opening.get(sid)?.catch(() => {});
    const { registry, store } = this.#context;
    const here = registry.find(principal, id);
    if (here !== undefined) return this.#whenRead(here.stream);
    if (!store.isUp) throw unreachable('find the stream');
    return this.#alone(sid, async () => {
      let reply: Reply;
      try {
        reply = await store.read('peek', [sid]);
      } catch (cause) {
        throw cause instanceof LinkError ? unreachable('find the stream') : cause;
      }
      const [gid, record, fingerprint = '', at = '', entry = ''] = reply as string[];
      if (gid === undefined || record === undefined) throw notFound();
      return this.#mirror(sid, { gid, record: parse(record), fingerprint, end: [at, entry] });
    });
  }

  /**
   * Finds the running generation that a prepared stream shares.
   * @returns undefined if its own generation is to run.
   */
  async findFlight(
    stream: Stream,
    generation: Generation,
    fingerprint: string,
  ): Promise<Generation | undefined> {
    const { logs, store } = this.#context;
    const log = logs.of(generation);
    if (log === undefined || log.fence === '0' || !store.isUp) return undefined;
    const sid = sidOf(stream.principal, stream.id);
    const reply = await store.tryWrite('share', [sid, log.gid, log.fence, fingerprint, LIVE_MS]);
    if (!Array.isArray(reply)) {
      // Redis does not tell if the stream shares a generation: this process generates for its readers.
      log.fence = '0';
      return undefined;
    }
    const [result, gid] = reply as [string, string?];
    if (result !== 'join' || gid === undefined) return undefined;
    const shared = logs.move(sid, log, gid);
    if (!shared.isOwn) void this.#follower.catchUp(shared);
    return shared.generation;
  }

  async #open(
    sid: string,
    identity: StreamIdentity,
    identified: IdentifiedRequest,
    connectionId: string | undefined,
  ): Promise<Stream> {
    const { logs, limits, node, registry, store } = this.#context;
    // A stream that begins without Redis is one of this process alone until Redis is back.
    await store.recovered(LOCAL_AFTER_MS);
    if (this.#isStopped) throw draining();
    const { principal } = identity;
    const { request, fingerprint } = identified;
    registry.admit(principal, identified);
    if (store.isUp && store.problem !== undefined) throw noRoom();
    const record = recordOf(identity, randomUUID(), randomUUID());
    const requestRecord: RequestRecord = { request, ...(connectionId && { connectionId }) };
    const requestJson = JSON.stringify(requestRecord);
    const isShared = !this.#hasPrepare && canShare(request);
    const begin = (fence: string): Stream =>
      registry.begin(identity, identified, connectionId, record, (stream, generation) => {
        const log = logs.add(record.requestId, generation);
        log.fence = fence;
        log.request = requestJson;
        log.streams.set(sid, stream);
      });
    if (!store.isUp) return begin('0');
    let reply: readonly Reply[];
    try {
      reply = (await store.write('open', [
        sid,
        hash(principal),
        fingerprint,
        isShared ? fingerprint : '',
        record.requestId,
        node,
        requestJson,
        JSON.stringify(record),
        LIVE_MS,
        FIRST_READER_MS,
        limits.maxStreamsPerPrincipal,
      ])) as readonly Reply[];
    } catch (cause) {
      if (cause instanceof LinkError) return begin('0');
      if (!isFull(cause)) throw cause;
      store.noteFull();
      throw noRoom();
    }
    const [result, gid = '', known = '', knownAs = '', at = '', entry = ''] = reply as string[];
    const mirror = async (stream: KnownStream): Promise<Stream> => {
      try {
        return await this.#mirror(sid, stream);
      } catch (cause) {
        if (store.isUp) throw cause;
        return begin('0');
      }
    };
    switch (result) {
      case 'yours':
        return begin('1');
      case 'conflict':
        throw conflict();
      case 'full':
        throw overloaded('too many of your answers are under way; wait for one to end');
      case 'join':
        return mirror({ gid, record, fingerprint, end: ['', ''] });
      default: {
        const end = [at, entry] as const;
        return mirror({ gid, record: parse(known), fingerprint: knownAs, end });
      }
    }
  }

  /** Adds a stream whose log another stream or another process began. */
  async #mirror(sid: string, { gid, record, fingerprint, end }: KnownStream): Promise<Stream> {
    const { logs, registry, store } = this.#context;
    const stream = logs.join(sid, gid, record, fingerprint);
    const log = logs.get(gid)!;
    if (!log.isOwn && !log.generation.log.done && !(await this.#catchUp(log))) {
      registry.drop(stream);
      throw store.isUp ? notFound() : unreachable('find the stream');
    }
    const [at, entry] = end;
    if (at !== '') this.#ends.endHere(log, sid, Number(at), JSON.parse(entry) as ErrorEntry);
    return stream;
  }

  /** As `Follower.catchUp`, and again if Redis was away for less than a second. */
  async #catchUp(log: SharedLog): Promise<boolean> {
    const { store } = this.#context;
    if (await this.#follower.catchUp(log)) return true;
    if (store.isUp) return false;
    await store.recovered(LOCAL_AFTER_MS);
    return store.isUp && this.#follower.catchUp(log);
  }

  /** Waits until what is being read of the stream's log is there. */
  async #whenRead(stream: Stream): Promise<Stream> {
    await this.#context.logs.ofStream(stream)?.catchingUp;
    return stream;
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
}

function parse(record: string): StreamRecord {
  return JSON.parse(record) as StreamRecord;
}

function noRoom(): Error {
  return overloaded('the store of the streams has no room; try again soon');
}
