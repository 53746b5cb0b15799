import type { ToolCallEntry } from '../../entry.js';
import { isFull } from '../../redis/connection/connection.js';
import { LinkError, type Reply } from '../../redis/connection/link.js';
import type { StoredReply, ToolReply } from '../../tool-replies.js';
import type { Generation } from '../generation.js';
import { type Log, slicesOf } from '../log.js';
import { checkReply, replyConflict } from '../pending-calls.js';
import type { Stream } from '../stream.js';
import { notFound } from '../stream-registry.js';
import { type RedisContext, unreachable } from './context.js';
import { type Follower, MAX_HEADS } from './follower.js';
import type { SharedLog } from './shared-log.js';

/**
 * Replies of clients to calls that wait. Redis has the first reply to each call, whichever process took it: the
 * owner of the log goes on with it, and so does the process that takes over.
 */
export class Replies {
  readonly #context: RedisContext;
  readonly #follower: Follower;

  constructor(context: RedisContext, follower: Follower) {
    this.#context = context;
    this.#follower = follower;
  }

  /** @throws {StreamError} as `StreamDirectory.reply`. */
  async reply(stream: Stream, callId: string, reply: ToolReply): Promise<void> {
    const { logs, registry, store } = this.#context;
    const log = logs.ofStream(stream);
    if (log === undefined) throw notFound();
    const isAlone = log.fence === '0' || !store.isUp;
    if (isAlone && !log.isMirror) return registry.reply(stream, callId, reply);
    if (!store.isUp) throw unreachable('answer the call');
    const call = await this.#find(log, callId);
    checkReply(call?.awaits, reply);
    let stored: Reply;
    try {
      const isOver = call?.isOver === true ? '1' : '';
      stored = await store.write('reply', [log.gid, callId, JSON.stringify(reply), '', isOver]);
    } catch (cause) {
      if (isFull(cause)) {
        store.noteFull();
        if (log.isOwn) return registry.reply(stream, callId, reply);
      } else if (!(cause instanceof LinkError)) throw cause;
      // Redis may have taken it. The same reply again is taken once.
      throw unreachable('answer the call');
    }
    const [result] = stored as [string];
    if (result === 'conflict') throw replyConflict();
    if (result === 'gone' && log.isMirror) throw notFound();
    this.receive(log, callId, reply);
  }

  /** Another process, or this one, has taken a reply to a call of a log. */
  receive(log: SharedLog, callId: string, reply: ToolReply): void {
    const { calls } = log.generation;
    if (log.isOwn && calls.waiting.includes(callId)) calls.reply(callId, reply);
  }

  /** Looks for replies to the calls of this process: a message may be lost. */
  async check(): Promise<void> {
    const waiting = this.#context.logs
      .own()
      .filter(({ fence, generation }) => fence !== '0' && generation.calls.isPaused)
      .flatMap((log) => log.generation.calls.waiting.map((callId) => [log, callId] as const));
    for (let i = 0; i < waiting.length; i += MAX_HEADS) {
      const part = waiting.slice(i, i + MAX_HEADS);
      const args = part.flatMap(([{ gid, fence }, callId]) => [gid, fence, callId]);
      const stored = await this.#read(args);
      for (const [j, [log, callId]] of part.entries()) {
        const reply = stored?.[j]?.reply;
        if (typeof reply === 'object') this.receive(log, callId, reply);
      }
    }
  }

  /**
   * @returns the replies that earlier owners of a log were told, by the ids of the calls; undefined if Redis did not
   * answer.
   */
  async ofEarlierOwners(
    gid: string,
    fence: string,
    callIds: readonly string[],
  ): Promise<ReadonlyMap<string, StoredReply> | undefined> {
    if (callIds.length === 0) return new Map();
    const stored = await this.#read(callIds.flatMap((callId) => [gid, fence, callId]));
    if (stored === undefined) return undefined;
    const replies = new Map<string, StoredReply>();
    for (const [i, callId] of callIds.entries()) {
      const known = stored[i];
      if (known !== undefined && known.fence !== fence) replies.set(callId, known.reply);
    }
    return replies;
  }

  /** No reply to a call is taken any more. @returns the one that was taken before. */
  async close(generation: Generation, callId: string): Promise<ToolReply | undefined> {
    const { logs, store } = this.#context;
    const log = logs.of(generation);
    if (log === undefined || log.fence === '0' || !store.isUp) return undefined;
    const reply = await store.tryWrite('reply', [log.gid, callId, '', log.fence, '']);
    const [result, taken = ''] = Array.isArray(reply) ? (reply as [string, string?]) : [];
    if (result !== 'conflict' || taken === '') return undefined;
    return JSON.parse(taken) as ToolReply;
  }

  /** @param args gid, fence and id of each call. */
  async #read(
    args: readonly string[],
  ): Promise<({ reply: StoredReply; fence: string } | undefined)[] | undefined> {
    const reply = await this.#context.store.tryRead('replies', args);
    if (!Array.isArray(reply)) return undefined;
    return (reply as [string?, string?][]).map(([json, fence = '']) => {
      if (json === undefined) return undefined;
      return { reply: json === '' ? 'expired' : (JSON.parse(json) as ToolReply), fence };
    });
  }

  /** A process that follows the log may not have the call yet. */
  async #find(log: SharedLog, callId: string): Promise<LoggedCall | undefined> {
    const found = callOf(log.generation.log, callId);
    if (found !== undefined || log.isOwn || log.generation.log.done) return found;
    await this.#follower.catchUp(log);
    return callOf(log.generation.log, callId);
  }
}

interface LoggedCall {
  readonly awaits: ToolCallEntry['awaits'];
  /** True if it has its result. */
  isOver: boolean;
}

function callOf(log: Log, callId: string): LoggedCall | undefined {
  let call: LoggedCall | undefined;
  for (const { entry } of slicesOf(log)) {
    if (entry.type === 'tool_call' && entry.callId === callId)
      call = { awaits: entry.awaits, isOver: false };
    else if (entry.type === 'tool_result' && entry.callId === callId && call) call.isOver = true;
  }
  return call;
}
