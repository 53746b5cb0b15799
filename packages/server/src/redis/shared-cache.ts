import {
  type CachedAnswer,
  createLocalCache,
  type LocalCache,
  type ResponseCache,
  type ResponseCacheOptions,
} from '../generate/cache.js';
import type { Logger } from '../observe/logger.js';
import type { RedisConnection } from './connection/connection.js';
import { LinkError, type Reply, withDeadline } from './connection/link.js';
import { hash } from './hash.js';

/** A longer answer, as JSON, is kept by its process only. */
const MAX_SHARED_UNITS = 262_144;
/** An answer that Redis has not given by then is a miss. */
const DEADLINE_MS = 200;
/** Answers that end in this time after their principal was forgotten are not kept. */
const FORGET_HOLD_MS = 10_000;
const COUNT_TTL_MS = 30 * 86_400_000;
const CHANNEL = 'cf';

/**
 * Answers in the memory of this process, and in Redis for all processes. An answer that this process does
 * not have is looked up in Redis. While Redis does not answer, that is a miss.
 */
export class SharedCache implements ResponseCache {
  readonly maxAnswerUnits: number;
  readonly #local: LocalCache;
  readonly #options: ResponseCacheOptions;
  readonly #connection: RedisConnection;
  readonly #logger: Logger;
  #listener: (principal: string | undefined) => void = () => {};
  /** The number of removals by this process. An answer that was looked up before may have been removed. */
  #removals = 0;
  /** The number of times that a principal was forgotten, as counted by Redis. */
  #forgets = 0;

  constructor(connection: RedisConnection, options: ResponseCacheOptions, logger: Logger) {
    this.#local = createLocalCache(options);
    this.maxAnswerUnits = this.#local.maxAnswerUnits;
    this.#options = options;
    this.#connection = connection;
    this.#logger = logger;
    connection
      .subscribe(CHANNEL, (message) => this.#receive(message))
      .catch(() => {
        // The connection subscribes again when it is open.
      });
  }

  get(key: string): CachedAnswer | undefined | Promise<CachedAnswer | undefined> {
    const known = this.#local.get(key);
    if (known !== undefined || !this.#connection.isUp) return known;
    return this.#find(key);
  }

  set(key: string, answer: CachedAnswer, principal?: string): void {
    this.#local.set(key, answer, principal);
    const json = JSON.stringify(answer);
    if (json.length > MAX_SHARED_UNITS || !this.#connection.isUp) return;
    void this.#keep(key, json, principal);
  }

  values(): Iterable<CachedAnswer> {
    return this.#local.values();
  }

  /** @throws {Error} Redis did not answer: it may still have the answers. */
  async forget(principal: string): Promise<void> {
    this.#forgetHere(principal);
    const times = [FORGET_HOLD_MS, COUNT_TTL_MS];
    try {
      await this.#connection.write('uncache', [principal, hash(principal), ...times]);
    } catch (cause) {
      const reason = 'Redis does not answer; call `forget` again once it does';
      throw new Error(`unable to remove cached answers: ${reason}`, { cause });
    }
  }

  onForget(listener: (principal: string | undefined) => void): void {
    this.#listener = listener;
  }

  /** To be called when the connection is open, also for the first time. */
  async reconnected(): Promise<void> {
    let forgets: Reply;
    try {
      forgets = await this.#connection.command('GET', this.#connection.key('cv', 'removals'));
    } catch {
      forgets = -1;
    }
    if (this.#forgets !== Number(forgets)) this.#forgetAllHere(Number(forgets));
  }

  #receive(message: string): void {
    const [count = ''] = message.split(':', 1);
    const isNext = Number(count) === this.#forgets + 1;
    if (!isNext) return this.#forgetAllHere(Number(count));
    this.#forgets += 1;
    this.#forgetHere(message.slice(count.length + 1));
  }

  /** A principal may have been forgotten while this process did not hear of it. */
  #forgetAllHere(forgets: number): void {
    this.#forgets = forgets;
    this.#removals += 1;
    this.#local.clear();
    this.#listener(undefined);
  }

  #forgetHere(principal: string): void {
    this.#removals += 1;
    this.#local.forget(principal);
    this.#listener(principal);
  }

  async #find(key: string): Promise<CachedAnswer | undefined> {
    const removals = this.#removals;
    const answered = this.#connection.read('cached', [key]).catch(missIfLost);
    const reply = await withDeadline(answered, DEADLINE_MS, () => undefined);
    if (!Array.isArray(reply) || reply.length === 0 || removals !== this.#removals)
      return undefined;
    const [json, principal, ttlMs] = reply as [string, string, number];
    const answer = JSON.parse(json) as CachedAnswer;
    if (ttlMs > 0) {
      this.#local.set(key, answer, principal === '' ? undefined : principal, ttlMs);
    }
    return answer;
  }

  async #keep(key: string, json: string, principal: string | undefined): Promise<void> {
    const { ttlSeconds, maxBytes } = this.#options;
    const owner = principal ?? '';
    const args = [key, json, owner, hash(owner), ttlSeconds * 1_000, maxBytes];
    try {
      await this.#connection.write('keep', args);
    } catch (error) {
      if (error instanceof LinkError) return;
      this.#logger.warn({ event: 'LLM_CACHE_FAILED', operation: 'set', err: error });
    }
  }
}

/** A cache that has lost Redis misses. */
function missIfLost(error: unknown): undefined {
  if (!(error instanceof LinkError)) throw error;
}
