import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { ResponseCacheOptions } from '../generate/cache.js';
import type { Logger } from '../observe/logger.js';
import { ConfigError } from '../settings/resolve-settings.js';
import { createQueue, type Queue, type QueueOptions } from '../upstream/queue.js';
import { RedisConnection } from './connection/connection.js';
import { explainFault } from './connection/explain.js';
import { probeProtocol } from './connection/probe-protocol.js';
import type { CreateClient } from './connection/link.js';
import { SharedCache } from './shared-cache.js';
import { SharedQueue } from './shared-queue.js';

const REACHED_CHECK_MS = 20;

/**
 * The state that the streaming cores of all processes share in Redis: cached answers, and the slots of
 * providers.
 */
export class SharedState {
  readonly #connection: RedisConnection;
  readonly #node: string = randomUUID();
  readonly #logger: Logger;
  readonly #url: string;
  readonly #queues = new Map<string, SharedQueue>();
  #cache: SharedCache | undefined;

  /** Connects to Redis. While it cannot be reached, the process has a cache and slots of its own. */
  constructor(
    settings: { url: string; ca?: string | undefined; keyPrefix: string },
    createClient: CreateClient | Promise<CreateClient>,
    logger: Logger,
  ) {
    const { url, ca, keyPrefix: prefix } = settings;
    this.#logger = logger;
    this.#url = url;
    this.#connection = new RedisConnection(
      { url, ca, prefix, node: this.#node, logger },
      createClient,
      {
        onUp: () => {
          void this.#cache?.reconnected();
          for (const queue of this.#queues.values()) queue.share();
        },
        onDown: () => {
          for (const queue of this.#queues.values()) queue.unshare();
        },
        onMessage: (message) => {
          for (const queue of this.#queues.values()) queue.receive(message);
        },
      },
    );
  }

  /** True if Redis can be used. */
  get isUp(): boolean {
    return this.#connection.isUp;
  }

  /** The newest fault of the connection. */
  get problem(): unknown {
    return this.#connection.problem;
  }

  /**
   * Resolves when Redis can be used, after `timeoutMs` at the latest.
   *
   * @throws {ConfigError} Redis refuses this process, or is not trusted.
   */
  async reached(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (!this.#connection.isUp && performance.now() < until) {
      const advice = explainFault(this.#connection.problem);
      if (advice !== undefined) throw new ConfigError(`unable to use Redis: ${advice}`);
      await wait(REACHED_CHECK_MS);
    }
    if (this.#connection.isUp) return;
    const advice = await probeProtocol(this.#url);
    if (advice !== undefined) throw new ConfigError(`unable to use Redis: ${advice}`);
  }

  createCache(options: ResponseCacheOptions): SharedCache {
    this.#cache = new SharedCache(this.#connection, options, this.#logger);
    return this.#cache;
  }

  createQueue(options: QueueOptions): Queue {
    const { name, pool = name, concurrency } = options;
    // Nothing waits. Two providers of one process share nothing.
    if (concurrency === Infinity || this.#queues.has(pool)) return createQueue(options);
    const queue = new SharedQueue(this.#connection, this.#node, { ...options, pool });
    this.#queues.set(pool, queue);
    return queue;
  }

  close(): void {
    for (const queue of this.#queues.values()) queue.close();
    this.#connection.close();
  }
}
