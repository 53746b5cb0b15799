import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from '../../observe/logger.js';
import {
  isFull,
  RedisConnection,
  type RedisConnectionOptions,
} from '../../redis/connection/connection.js';
import { detailOf, explainFault, REPLY_ADVICE, replyWord } from '../../redis/connection/explain.js';
import { type CreateClient, LinkError, type Reply } from '../../redis/connection/link.js';
import type { ScriptName } from '../../redis/connection/scripts.js';

export interface StoreListener {
  /** All connections are ready, for the first time or again. */
  onConnected(): void;
  /** A message for this process. */
  onMessage(message: string): void;
}

type Args = readonly (string | number)[];

const REACHED_CHECK_MS = 20;
const VERSION_MS = 20_000;
const FULL_MS = 5_000;
const STEADY_MS = 3_000;
const MAX_USED_SHARE = 0.9;

const REACH_ADVICE = 'Check that it runs, and REDIS_URL';
const FULL_ADVICE = 'Raise maxmemory';
const POLICY_ADVICE = 'Set maxmemory-policy to noeviction';

/** Redis, and whether it can be used: it may be away, out of memory, or configured to drop streams. */
export class RedisStore {
  readonly #connection: RedisConnection;
  readonly #logger: Logger;
  /** When Redis answered again after a fault, or for the first time; undefined while it does not. */
  #steadySince: number | undefined;
  #isDegraded = true;
  #lostAt = performance.now();
  #hasBeenReached = false;
  #fullUntil = 0;
  #policy: string | undefined;
  /** The first word of the error that Redis replied to the last heartbeat; undefined if it carried it out. */
  #refusal: string | undefined;
  #isClosed = false;
  #otherVersions = '';
  readonly #versionTimer: NodeJS.Timeout;

  constructor(
    options: RedisConnectionOptions,
    createClient: CreateClient | Promise<CreateClient>,
    listener: StoreListener,
  ) {
    this.#logger = options.logger;
    this.#versionTimer = setInterval(() => void this.#announceVersion(), VERSION_MS).unref();
    this.#connection = new RedisConnection(options, createClient, {
      onUp: () => {
        listener.onConnected();
        void this.#announceVersion();
      },
      onDown: (cause) => this.#noteLost(cause),
      onMessage: (message) => listener.onMessage(message),
    });
  }

  /** True if commands can be sent. */
  get isConnected(): boolean {
    return this.#connection.isUp;
  }

  /** True from a fault until `noteReached()`. */
  get isDegraded(): boolean {
    return this.#isDegraded;
  }

  /** True if streams are those of all processes. */
  get isUp(): boolean {
    return !this.#isDegraded && this.#connection.isUp;
  }

  /** True if Redis has had no memory for a write within the last seconds. */
  get isFull(): boolean {
    return performance.now() < this.#fullUntil;
  }

  /**
   * True once Redis has answered for a while without a fault. After an outage, the other processes have told it by
   * then which logs they write, and which readers they have.
   */
  get isSteady(): boolean {
    return this.#steadySince !== undefined && performance.now() - this.#steadySince > STEADY_MS;
  }

  /** The reason for which streams are not shared at the moment; undefined if they are. */
  get problem(): string | undefined {
    if (this.#policy !== undefined && this.#policy !== 'noeviction') {
      return `redis: maxmemory-policy is ${this.#policy}, which drops streams. ${POLICY_ADVICE}`;
    }
    if (this.#connection.isUp) {
      if (this.isFull) return `redis: its memory is used up. ${FULL_ADVICE}`;
      if (this.#refusal !== undefined)
        return `redis: answers with an error (${this.#refusal}). ${REPLY_ADVICE}`;
    }
    if (!this.#isDegraded) return undefined;
    return `redis: ${explainFault(this.#connection.problem) ?? `not reached. ${REACH_ADVICE}`}`;
  }

  /**
   * Resolves when Redis can be used, after `timeoutMs` at the latest.
   *
   * @param known the newest fault of another connection of this process to the same Redis.
   */
  async reached(timeoutMs: number, known?: unknown): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (this.#isDegraded && performance.now() < until) await wait(REACHED_CHECK_MS);
    if (!this.#isDegraded) return;
    const { isUp, problem = known ?? new LinkError('it did not answer') } = this.#connection;
    // A Redis that answers with errors has a line of its own.
    if (isUp && (this.isFull || this.#refusal !== undefined)) return;
    this.#logger.error({ event: 'REDIS_NOT_REACHED', ...factsOf(problem) });
  }

  /** Resolves when Redis can be used, or when it has been away for `graceMs`. */
  async recovered(graceMs: number): Promise<void> {
    const until = this.#lostAt + graceMs;
    while (!this.isUp && performance.now() < until) await wait(REACHED_CHECK_MS);
  }

  /** Ends the degraded state. */
  noteReached(): void {
    this.#isDegraded = false;
    this.#steadySince = performance.now();
    const lostMs = this.#hasBeenReached && Math.round(performance.now() - this.#lostAt);
    this.#hasBeenReached = true;
    this.#logger.info({ event: 'REDIS_REACHED', ...(lostMs !== false && { lostMs }) });
  }

  /** Redis refused a write because its memory is used up. */
  noteFull(): void {
    if (!this.isFull) this.#logger.error({ event: 'REDIS_FULL', hint: FULL_ADVICE });
    this.#fullUntil = performance.now() + FULL_MS;
  }

  /** Notes the outcome of a heartbeat. @param failure undefined if Redis has carried it out. */
  noteBeat(failure?: unknown): void {
    this.#refusal = replyWord(failure);
    if (failure !== undefined) this.noteFailed(failure);
  }

  /** Notes why a command failed. */
  noteFailed(cause: unknown): void {
    if (isFull(cause)) this.noteFull();
    else this.#connection.noteFailed(cause);
  }

  /** Runs a script that writes. @throws {LinkError} there was no reply: it may have run. */
  write(name: ScriptName, args: Args): Promise<Reply> {
    return this.#connection.write(name, args);
  }

  /** Runs a script whose reply may be large. @throws {LinkError} there was no reply. */
  read(name: ScriptName, args: Args): Promise<Reply> {
    return this.#connection.read(name, args);
  }

  /** Runs a script that writes. @returns undefined if Redis did not answer, or refused. */
  tryWrite(name: ScriptName, args: Args): Promise<Reply | undefined> {
    return this.#try(this.#connection.write(name, args));
  }

  /** Runs a script whose reply may be large. @returns undefined if Redis did not answer, or refused. */
  tryRead(name: ScriptName, args: Args): Promise<Reply | undefined> {
    return this.#try(this.#connection.read(name, args));
  }

  /** Calls `listener` with each message of a channel, also after the connection was opened again. */
  subscribe(name: string, listener: (message: string) => void): Promise<void> {
    return this.#connection.subscribe(name, listener);
  }

  unsubscribe(name: string): Promise<void> {
    return this.#connection.unsubscribe(name);
  }

  /** Opens the connection for messages again, because none came. */
  reopenSubscriber(): void {
    this.#connection.reopenSubscriber();
  }

  /** Reads how much memory Redis has left, and whether it would drop streams. */
  async checkMemory(): Promise<void> {
    try {
      const info = String(await this.#connection.command('INFO', 'memory'));
      const read = (name: string): string | undefined =>
        new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
      const most = Number(read('maxmemory'));
      const policy = most > 0 ? read('maxmemory_policy') : 'noeviction';
      if (policy !== this.#policy && policy !== 'noeviction') {
        this.#logger.error({ event: 'REDIS_EVICTS', policy, hint: POLICY_ADVICE });
      }
      this.#policy = policy;
      if (most > 0 && Number(read('used_memory')) > most * MAX_USED_SHARE) this.noteFull();
    } catch {
      // The next heartbeat reads it again.
    }
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#versionTimer);
    this.#connection.close();
  }

  async #announceVersion(): Promise<void> {
    try {
      const others = await this.#connection.announceVersion();
      const listed = others.join(', ');
      if (listed !== this.#otherVersions && listed !== '')
        this.#logger.warn({ event: 'REDIS_OTHER_VERSION', others });
      this.#otherVersions = listed;
    } catch {
      // It is told again.
    }
  }

  #noteLost(cause: unknown): void {
    this.#steadySince = undefined;
    if (this.#isDegraded || this.#isClosed) return;
    this.#isDegraded = true;
    this.#lostAt = performance.now();
    this.#logger.warn({ event: 'REDIS_LOST', ...factsOf(cause) });
  }

  async #try(reply: Promise<Reply>): Promise<Reply | undefined> {
    try {
      return await reply;
    } catch (cause) {
      this.noteFailed(cause);
      return undefined;
    }
  }
}

/** @returns the fields of a log line about a fault of the connection. */
function factsOf(fault: unknown) {
  const detail = detailOf(fault);
  const hint = explainFault(fault) ?? REACH_ADVICE;
  return { hint, ...(detail !== undefined && { detail }), err: fault };
}
