/** What a command answers. */
export type Reply = string | number | null | readonly Reply[];

/** What is used of the package `redis`. */
interface RedisClient {
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: string, listener: (cause: unknown) => void): unknown;
  sendCommand(args: string[]): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<void>;
  unsubscribe(channel: string): Promise<void>;
}

export type CreateClient = (options: {
  url: string;
  name: string;
  disableOfflineQueue: boolean;
  socket: { connectTimeout: number; reconnectStrategy: () => number };
}) => RedisClient;

export interface LinkOptions {
  url: string;
  /** Names the connection for the operator of Redis. */
  name: string;
  createClient: CreateClient;
  /** Called with each new connection before it is ready. */
  prepare?(link: Link): Promise<void>;
  onReady(): void;
  onLost(cause: unknown): void;
  /** Called with each fault, also before the first connection. */
  onProblem(cause: unknown): void;
}

/** Redis does not answer. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
}

const RECONNECT_MS = 200;
/** A command, and a connection until it is ready, may take this long. */
export const DEADLINE_MS = 1_000;
const CONNECT_MS = 2_000;
/** A timer that is later than this shows that this process was stopped, and may not have read replies yet. */
const LATE_MS = 250;

/**
 * One connection to Redis, which is opened again for ever. A command is rejected at once while there is no
 * connection, and after a second without a reply; the connection is then replaced, because replies to later
 * commands would wait behind it.
 */
export class Link {
  readonly #options: LinkOptions;
  #client: RedisClient | undefined;
  /** True if commands can be sent. */
  #isConnected = false;
  #isReady = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#open();
  }

  /** True if `onReady` has done its work on this connection. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** @throws {LinkError} there was no reply. @throws the error that Redis replied. */
  async send(args: readonly string[]): Promise<Reply> {
    const client = this.#client;
    if (client === undefined || !this.#isConnected) throw new LinkError('there is no connection');
    return this.#withDeadline(client, client.sendCommand([...args]) as Promise<Reply>);
  }

  /** Calls `listener` with each message of a channel. */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    const client = this.#client;
    if (client === undefined || !this.#isConnected) throw new LinkError('there is no connection');
    await this.#withDeadline(client, client.subscribe(channel, listener));
  }

  async unsubscribe(channel: string): Promise<void> {
    const client = this.#client;
    if (client === undefined || !this.#isConnected) return;
    await this.#withDeadline(client, client.unsubscribe(channel));
  }

  /** Replaces the connection. */
  reopen(cause: unknown): void {
    if (this.#isClosed) return;
    this.#drop(cause);
    this.#timer = setTimeout(() => this.#open(), RECONNECT_MS);
  }

  close(): void {
    this.#isClosed = true;
    this.#drop(new LinkError('the connection was closed'));
  }

  #open(): void {
    const { url, name } = this.#options;
    const client = this.#options.createClient({
      url,
      name,
      disableOfflineQueue: true,
      socket: { connectTimeout: CONNECT_MS, reconnectStrategy: () => RECONNECT_MS },
    });
    this.#client = client;
    const isCurrent = (): boolean => this.#client === client;
    client.on('error', (cause: unknown) => {
      if (!isCurrent()) return;
      this.#options.onProblem(cause);
      this.#lose(cause);
    });
    client.on('ready', () => {
      if (!isCurrent()) return;
      clearTimeout(this.#timer);
      void this.#becomeReady(client);
    });
    client.on('reconnecting', () => {
      if (!isCurrent()) return;
      this.#lose(new LinkError('the connection broke'));
      this.#watchConnecting(client);
    });
    this.#watchConnecting(client);
    client.connect().catch(() => {});
  }

  /** A stopped Redis accepts a connection and does not answer. */
  #watchConnecting(client: RedisClient): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#client === client && !this.#isConnected)
        this.reopen(new LinkError('it did not answer'));
    }, CONNECT_MS);
  }

  async #becomeReady(client: RedisClient): Promise<void> {
    this.#isConnected = true;
    try {
      await this.#options.prepare?.(this);
      if (this.#client !== client || !this.#isConnected) return;
      this.#isReady = true;
      this.#options.onReady();
    } catch (cause) {
      if (this.#client === client) this.reopen(cause);
    }
  }

  async #withDeadline<T>(client: RedisClient, reply: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const startedAt = performance.now();
      const expire = (): void => {
        const error = new LinkError(`there was no reply within ${DEADLINE_MS} ms`);
        if (this.#client === client) this.reopen(error);
        reject(error);
      };
      timer = setTimeout(() => {
        // The replies may have arrived while this process was stopped.
        const lateMs = performance.now() - startedAt - DEADLINE_MS;
        if (lateMs > LATE_MS) timer = setTimeout(expire, LATE_MS);
        else expire();
      }, DEADLINE_MS);
    });
    try {
      return await Promise.race([reply, late]);
    } catch (cause) {
      throw isReply(cause) ? cause : new LinkError('the connection broke', { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  #lose(cause: unknown): void {
    this.#isConnected = false;
    if (!this.#isReady) return;
    this.#isReady = false;
    this.#options.onLost(cause);
  }

  #drop(cause: unknown): void {
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = undefined;
    this.#lose(cause);
    try {
      client?.destroy();
    } catch {
      // It was closed before.
    }
  }
}

/** True if Redis replied with this error. */
function isReply(cause: unknown): boolean {
  return cause instanceof Error && /^[A-Z]+ /.test(cause.message) && !(cause instanceof LinkError);
}
