import { setTimeout as wait } from 'node:timers/promises';
import type { Entry, ResumedAnswer } from '../../entry.js';
import { type Log, slicesOf } from '../log.js';
import { requestBytesOf, SHUT_DOWN } from '../stream-registry.js';
import { LIVE_MS, type RedisContext } from './context.js';
import type { Follower } from './follower.js';
import type { Heartbeat, Ownership } from './heartbeat.js';
import type { Owner } from './owner.js';
import type { Replies } from './replies.js';
import type { RequestRecord, StreamRecord } from './records.js';
import { type SharedLog, STREAM_LOST } from './shared-log.js';

/** A log that this process has claimed, as the script says it. */
type Claimed = [
  gid: string,
  fence: string,
  head: string,
  attempt: string,
  request: string,
  streams: [sid: string, record: string, fingerprint: string, detached: string][],
];

const CLAIM_JITTER_MS = 300;
const MAX_CLAIMED = 8;
/** An answer that has had so many owners is not taken over again. */
const MAX_OWNERS = 8;
/**
 * Each owner of a log numbers its attempts from a multiple of this on, more than any owner needs. An owner that is cut
 * off from Redis may show attempts that Redis does not have; no other owner gives them the same numbers, and a later
 * owner gives higher ones.
 */
const ATTEMPTS_OF_OWNER = 100;

/** Goes on with the logs of processes that are dead, and leaves those of this process to others. */
export class Takeover {
  readonly #context: RedisContext;
  readonly #follower: Follower;
  readonly #owner: Owner;
  readonly #replies: Replies;
  readonly #hasPrepare: boolean;
  #isClaiming = false;
  #isStopped = false;
  /** True once this process has left its logs to the others. */
  #hasLeft = false;

  constructor(
    context: RedisContext,
    follower: Follower,
    owner: Owner,
    replies: Replies,
    hasPrepare: boolean,
  ) {
    this.#context = context;
    this.#follower = follower;
    this.#owner = owner;
    this.#replies = replies;
    this.#hasPrepare = hasPrepare;
  }

  /** Takes over nothing from now on. */
  stop(): void {
    this.#isStopped = true;
  }

  /**
   * Takes over the logs of dead nodes, as far as no other process does, and those that Redis has as logs of this
   * process although nobody writes them. Of the latter, the reply to a claim was lost, or reading the log failed.
   */
  async claim({ dead, own }: Ownership): Promise<void> {
    if (this.#isStopped || this.#isClaiming) return;
    if (dead.length === 0 && !own.some((gid) => this.#isUnwritten(gid))) return;
    this.#isClaiming = true;
    try {
      await wait(Math.random() * CLAIM_JITTER_MS, undefined, { ref: false });
      const { node: self } = this.#context;
      // Redis replied to the heartbeat after the replies to all claims and starts before it: a log of the reply that
      // this process does not write now is not about to be written either.
      const unwritten = own.filter((gid) => this.#isUnwritten(gid));
      for (let i = 0; i < unwritten.length; i += MAX_CLAIMED)
        await this.#claimFrom(self, unwritten.slice(i, i + MAX_CLAIMED));
      for (const node of dead) while ((await this.#claimFrom(node)) > 0);
    } finally {
      this.#isClaiming = false;
    }
  }

  /**
   * Leaves the logs of this process to the others. Unless the process is closing, its readers read on.
   * @returns false if no other process takes over, or Redis is away.
   */
  handOver(heartbeat: Heartbeat, isClosing: boolean): boolean {
    if (this.#hasLeft) return true;
    const { store, logs } = this.#context;
    if (!heartbeat.hasOthers || !store.isUp) return false;
    this.#hasLeft = true;
    heartbeat.stop();
    const running = logs.own().filter((log) => !log.generation.log.done);
    for (const log of running) {
      log.endWriter();
      // The other process calls `onEnd`.
      log.generation.request = undefined;
      log.generation.stopRun(SHUT_DOWN);
    }
    void this.#leave(isClosing ? [] : running);
    return true;
  }

  /** @returns the number of logs that were claimed; 0 if claims have to wait. */
  async #claimFrom(node: string, gids: readonly string[] = []): Promise<number> {
    const { store, node: self } = this.#context;
    if (!store.isSteady || this.#isStopped || !store.isUp) return 0;
    const reply = await store.tryWrite('claim', [node, self, MAX_CLAIMED, LIVE_MS, ...gids]);
    if (!Array.isArray(reply)) return 0;
    await Promise.all((reply as Claimed[]).map((claimed) => this.#takeOver(claimed)));
    return reply.length;
  }

  /** @returns true if this process neither writes the log nor is to. */
  #isUnwritten(gid: string): boolean {
    return this.#context.logs.get(gid)?.isMirror !== false;
  }

  async #leave(followed: readonly SharedLog[]): Promise<void> {
    const { store, node } = this.#context;
    await store.tryWrite('leave', [node, LIVE_MS]);
    for (const log of followed) await this.#follower.catchUp(log);
  }

  async #takeOver([gid, fence, , , request, streams]: Claimed): Promise<void> {
    const { logs, logger, metrics, registry, settings } = this.#context;
    for (const [sid, record, fingerprint] of streams) {
      logs.join(sid, gid, JSON.parse(record) as StreamRecord, fingerprint);
    }
    const log = logs.get(gid);
    if (log === undefined) return;
    for (const [sid, , , detached] of streams) if (detached === '1') log.detached.add(sid);
    await log.catchingUp;
    if (!(await this.#follower.catchUp(log)) || log.generation.log.done) return;
    const { request: asked, prepared, connectionId } = JSON.parse(request) as RequestRecord;
    const { generation } = log;
    const resumed = resumedFrom(generation.log, Number(fence));
    // Without them, a tool that was approved could run twice. The log is claimed again with the next heartbeat.
    const stored = await this.#replies.ofEarlierOwners(gid, fence, unanswered(resumed));
    if (stored === undefined || generation.log.done) return;
    log.fence = fence;
    // The call may still wait: its streams stay paused until it is known.
    log.sentPaused = undefined;
    log.request = request;
    generation.request = asked;
    generation.requestBytes = requestBytesOf(asked, request);
    generation.updatePreemption();
    const attempt = resumed.attempt + 1;
    logger.warn({ event: 'STREAM_RESUMED_AFTER_LOSS', requestId: gid, attempt });
    const isEnded = settings.onNodeLoss === 'fail' || Number(fence) > MAX_OWNERS;
    metrics.takeovers.add(1, { outcome: isEnded ? 'ended' : 'restarted' });
    if (isEnded) {
      const writer = this.#owner.createWriter(generation, undefined);
      void writer?.write(STREAM_LOST);
      if ((await writer?.settle()) === true) registry.finishAll(generation);
      return;
    }
    const [stream] = log.streams.values();
    const owned = stream && registry.find(stream.principal, stream.id);
    if (this.#hasPrepare && prepared === undefined && owned !== undefined) {
      const { body } = registry.identify(asked);
      void registry.prepareAndRun(owned, asked, body, connectionId, { ...resumed, stored });
    } else void registry.run(generation, asked, prepared, connectionId, { ...resumed, stored });
  }
}

/** @returns what the process that takes over with `fence` needs of the log. */
export function resumedFrom(log: Log, fence: number): Omit<ResumedAnswer, 'stored'> {
  const rounds: { calls: CallEntry[]; decisions: DecisionEntry[]; results: ResultEntry[] }[] = [];
  let isCalling = false;
  for (const { entry } of slicesOf(log)) {
    if (entry.type === 'tool_call') {
      if (!isCalling) rounds.push({ calls: [], decisions: [], results: [] });
      rounds.at(-1)?.calls.push(entry);
    } else if (entry.type === 'tool_decision') rounds.at(-1)?.decisions.push(entry);
    else if (entry.type === 'tool_result') rounds.at(-1)?.results.push(entry);
    isCalling = entry.type === 'tool_call';
  }
  return { attempt: (fence - 1) * ATTEMPTS_OF_OWNER, rounds };
}

/** @returns the calls that wait for a client, as far as the log says. */
function unanswered({ rounds }: Pick<ResumedAnswer, 'rounds'>): string[] {
  const { calls, decisions, results } = rounds.at(-1) ?? { calls: [], decisions: [], results: [] };
  const answered = new Set([...decisions, ...results].map(({ callId }) => callId));
  return calls.flatMap(({ callId, awaits }) =>
    awaits !== undefined && !answered.has(callId) ? [callId] : [],
  );
}

type CallEntry = Extract<Entry, { type: 'tool_call' }>;
type DecisionEntry = Extract<Entry, { type: 'tool_decision' }>;
type ResultEntry = Extract<Entry, { type: 'tool_result' }>;
