import type { Logger } from '../../observe/logger.js';
import { REPLY_ADVICE, replyWord } from './explain.js';
import { type CreateClient, Link, LinkError, type Reply } from './link.js';
import { SCHEMA_VERSION } from './schema-version.js';
import { loadScripts, type ScriptName } from './scripts.js';

export interface ConnectionListener {
  /** All connections are ready. */
  onUp(): void;
  /** One of them broke, for this reason. */
  onDown(cause: unknown): void;
  /** A message for this node. */
  onMessage(message: string): void;
}

export interface RedisConnectionOptions {
  url: string;
  ca: string | undefined;
  prefix: string;
  node: string;
  logger: Logger;
}

const VERSION_LEASE_MS = 60_000;
/** A Redis that answers with errors does so for each command, so that only some are logged. */
const FAILED_PAUSE_MS = 10_000;
/**
 * Errors of all writes, not of one command: the primary has become a replica, so that another one answers at the same
 * address now, or soon; the slot moves; the disk is full; replicas are missing; the script of another application is
 * running; the rights of the user were changed.
 */
const REFUSES_ALL =
  /^(READONLY|MASTERDOWN|LOADING|CLUSTERDOWN|ASK|TRYAGAIN|MISCONF|NOREPLICAS|BUSY|NOPERM)\b/;

interface Channel {
  readonly name: string;
  readonly listener: (message: string) => void;
}

/**
 * The connections to Redis: one for writes, one for reads, whose replies may be large, and one that receives
 * what is published.
 */
export class RedisConnection {
  readonly #scripts = loadScripts();
  readonly #base: string;
  readonly #versionsKey: string;
  readonly #channels = new Map<string, Channel>();
  readonly #writes: Link;
  readonly #reads: Link;
  readonly #subscriber: Link;
  readonly #listener: ConnectionListener;
  readonly #logger: Logger;
  #isUp = false;
  #problem: unknown;
  #failedLoggedAt = -Infinity;

  constructor(
    options: RedisConnectionOptions,
    createClient: CreateClient | Promise<CreateClient>,
    listener: ConnectionListener,
  ) {
    // A hash tag, so that all keys are in one slot of a cluster.
    this.#base = `${options.prefix}v${SCHEMA_VERSION}{rv}`;
    this.#versionsKey = `${options.prefix}{rv}:versions`;
    this.#listener = listener;
    this.#logger = options.logger;
    this.#channels.set('in', {
      name: `${this.#base}:in:${options.node}`,
      listener: (message) => listener.onMessage(message),
    });
    const link = (role: string, prepare?: (link: Link) => Promise<void>): Link =>
      new Link({
        url: options.url,
        ca: options.ca,
        name: `rivulet-${role}-${options.node}`,
        createClient,
        ...(prepare && { prepare }),
        onReady: () => this.#update(),
        onLost: (cause) => this.#update(cause),
        onProblem: (cause) => {
          this.#problem = cause;
        },
      });
    this.#writes = link('writes');
    this.#reads = link('reads');
    this.#subscriber = link('subscriber', async (ready) => {
      const channels = [...this.#channels.values()];
      await Promise.all(channels.map(({ name, listener: heard }) => ready.subscribe(name, heard)));
    });
  }

  /** True if the last commands were answered. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** The newest fault. */
  get problem(): unknown {
    return this.#problem;
  }

  /** Runs a script that writes. @throws {LinkError} there was no reply: it may have run. */
  write(name: ScriptName, args: readonly (string | number)[]): Promise<Reply> {
    return this.#run(this.#writes, name, args);
  }

  /** Runs a script whose reply may be large. */
  read(name: ScriptName, args: readonly (string | number)[]): Promise<Reply> {
    return this.#run(this.#reads, name, args);
  }

  /** Sends a command of Redis, such as `INFO`. */
  command(...args: string[]): Promise<Reply> {
    return this.#reads.send(args);
  }

  /** @returns the key of a kind and a name. */
  key(kind: string, name: string): string {
    return `${this.#base}:${kind}:${name}`;
  }

  /** Calls `listener` with each message of a channel, also after the connection was opened again. */
  async subscribe(name: string, listener: (message: string) => void): Promise<void> {
    const channel = { name: `${this.#base}:${name}`, listener };
    this.#channels.set(name, channel);
    if (this.#subscriber.isReady) await this.#subscriber.subscribe(channel.name, listener);
  }

  async unsubscribe(name: string): Promise<void> {
    const channel = this.#channels.get(name);
    if (channel === undefined) return;
    this.#channels.delete(name);
    await this.#subscriber.unsubscribe(channel.name, channel.listener);
  }

  /**
   * Tells processes of other versions that this one is there.
   *
   * @returns the other versions that are.
   */
  async announceVersion(): Promise<readonly string[]> {
    const args = [this.#versionsKey, SCHEMA_VERSION, VERSION_LEASE_MS];
    return (await this.write('versions', args)) as readonly string[];
  }

  /** Logs an error of a command, at most once in 10 s. A fault of the connection is logged elsewhere. */
  noteFailed(cause: unknown): void {
    const now = performance.now();
    if (cause instanceof LinkError || now - this.#failedLoggedAt < FAILED_PAUSE_MS) return;
    this.#failedLoggedAt = now;
    const reply = replyWord(cause);
    const answered = reply !== undefined && { reply, hint: REPLY_ADVICE };
    this.#logger.error({ event: 'REDIS_FAILED', ...answered, err: cause });
  }

  /** Opens the connection for messages again, because none came. */
  reopenSubscriber(): void {
    this.#subscriber.reopen(new LinkError('it delivers no messages'));
  }

  close(): void {
    for (const link of [this.#writes, this.#reads, this.#subscriber]) link.close();
  }

  async #run(link: Link, name: ScriptName, args: readonly (string | number)[]): Promise<Reply> {
    const { sha1, source } = this.#scripts[name];
    const rest = ['1', this.#base, ...args.map(String)];
    try {
      return await link.send(['EVALSHA', sha1, ...rest]);
    } catch (cause) {
      if (cause instanceof Error && cause.message.startsWith('NOSCRIPT'))
        return link.send(['EVAL', source, ...rest]);
      if (cause instanceof Error && REFUSES_ALL.test(cause.message)) {
        link.reopen(cause);
        throw new LinkError('Redis takes no writes', { cause });
      }
      throw cause;
    }
  }

  #update(cause?: unknown): void {
    const isUp = [this.#writes, this.#reads, this.#subscriber].every((link) => link?.isReady);
    if (isUp === this.#isUp) return;
    this.#isUp = isUp;
    if (isUp) this.#listener.onUp();
    else {
      this.#logger.debug({ event: 'REDIS_CONNECTION_LOST', err: cause });
      this.#listener.onDown(cause);
    }
  }
}

/** True if Redis has no memory left for a write. */
export function isFull(cause: unknown): boolean {
  return cause instanceof Error && cause.message.startsWith('OOM');
}
