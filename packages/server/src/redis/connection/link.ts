/** The reply to a command. */
export type Reply = string | number | null | readonly Reply[];

/** The part of the package `redis` that is used. */
interface RedisClient {
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: string, listener: (cause: unknown) => void): unknown;
  sendCommand(args: string[]): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<void>;
  unsubscribe(channel: string, listener: (message: string) => void): Promise<void>;
}

export type CreateClient = (options: {
  url: string;
  name: string;
  disableOfflineQueue: boolean;
  socket: { connectTimeout: number; reconnectStrategy: () => number; ca?: string };
}) => RedisClient;

export interface LinkOptions {
  url: string;
  /** Certificates that are trusted instead of the well-known ones, in PEM form. */
  ca: string | undefined;
  /** Names the connection for the operator of Redis. */
  name: string;
  /** A promise while the package is being imported. */
  createClient: CreateClient | Promise<CreateClient>;
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
/** A timer that is later than this shows that this process was busy, and may not have read replies yet. */
const LATE_MS = 50;
/** Milliseconds for a process that was busy to read the replies. */
const READ_MS = 250;

/**
 * One connection to Redis, which is opened again for ever. A command is rejected at once while there is no
 * connection, and after a second without a reply; the connection is then replaced, because replies to later
 * commands would wait behind it.
 */
export class Link {
  readonly #options: LinkOptions;
  #client: RedisClient | undefined;
  /** The newest error of the client's socket. */
  #fault: unknown;
  /** True if commands can be sent. */
  #isConnected = false;
  #isReady = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  /** The node of a cluster that has the keys, if it is not the one of the URL. */
  #movedTo: string | undefined;
  /** Counts connections, so that only the newest is used. */
  #openings = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    void this.#open();
  }

  /** True if `onReady` has done its work on this connection. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** @throws {LinkError} there was no reply. @throws the error that Redis replied. */
  async send(args: readonly string[]): Promise<Reply> {
    const client = this.#client;
    if (client === undefined || !this.#isConnected) throw new LinkError('there is no connection');
    try {
      return await this.#withDeadline(client, client.sendCommand([...args]) as Promise<Reply>);
    } catch (cause) {
      const moved = cause instanceof Error && /^MOVED \d+ (\S+)/.exec(cause.message)?.[1];
      if (moved === undefined || moved === false) throw cause;
      if (this.#client === client) this.reopen(cause, moved);
      throw new LinkError('another node has the keys', { cause });
    }
  }

  /** Calls `listener` with each message of a channel. */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    const client = this.#client;
    if (client === undefined || !this.#isConnected) throw new LinkError('there is no connection');
    await this.#withDeadline(client, client.subscribe(channel, listener));
  }

  /** Ends the calls of `listener`, and not those of one that subscribes meanwhile. */
  async unsubscribe(channel: string, listener: (message: string) => void): Promise<void> {
    const client = this.#client;
    if (client === undefined || !this.#isConnected) return;
    await this.#withDeadline(client, client.unsubscribe(channel, listener));
  }

  /** Replaces the connection. @param movedTo host and port, if they are not those of the URL. */
  reopen(cause: unknown, movedTo?: string): void {
    if (this.#isClosed) return;
    this.#movedTo = movedTo;
    this.#options.onProblem(cause);
    this.#drop(cause);
    this.#timer = setTimeout(() => void this.#open(), RECONNECT_MS);
  }

  close(): void {
    this.#isClosed = true;
    this.#drop(new LinkError('the connection was closed'));
  }

  async #open(): Promise<void> {
    const { url, name, ca } = this.#options;
    const opening = ++this.#openings;
    let createClient: CreateClient;
    try {
      createClient = await this.#options.createClient;
    } catch (cause) {
      return this.#options.onProblem(cause);
    }
    if (this.#isClosed || opening !== this.#openings) return;
    const client = createClient({
      url: this.#movedTo === undefined ? url : withHost(url, this.#movedTo),
      name,
      disableOfflineQueue: true,
      socket: {
        connectTimeout: CONNECT_MS,
        reconnectStrategy: () => RECONNECT_MS,
        ...(ca !== undefined && { ca }),
      },
    });
    this.#client = client;
    this.#fault = undefined;
    const isCurrent = (): boolean => this.#client === client;
    client.on('error', (cause: unknown) => {
      if (!isCurrent()) return;
      this.#fault = cause;
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
      const broke = new LinkError('the connection broke');
      // The node of the URL knows where the keys are now.
      if (this.#movedTo !== undefined) return this.reopen(broke);
      this.#lose(broke);
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
        this.reopen(new LinkError('it did not answer', { cause: this.#fault }));
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
    try {
      return await withDeadline(reply, DEADLINE_MS, () => {
        const error = new LinkError(`there was no reply within ${DEADLINE_MS} ms`);
        if (this.#client === client) this.reopen(error);
        throw error;
      });
    } catch (cause) {
      throw isReply(cause) ? cause : new LinkError('the connection broke', { cause });
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
    this.#openings += 1;
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

/**
 * @param ms after this time in milliseconds without a reply, the result is that of `expire`. If this process
 * was busy at the end of the time, it reads first what has arrived meanwhile.
 */
export async function withDeadline<T>(reply: Promise<T>, ms: number, expire: () => T): Promise<T> {
  const startedAt = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      const lateMs = performance.now() - startedAt - ms;
      if (lateMs > LATE_MS) timer = setTimeout(resolve, READ_MS);
      else resolve();
    }, ms);
  });
  try {
    return await Promise.race([reply, late.then(expire)]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param host host and port as Redis writes them; without a host, that of the URL. */
function withHost(url: string, host: string): string {
  const moved = new URL(url);
  const at = host.lastIndexOf(':');
  const name = host.slice(0, at);
  if (name !== '') moved.hostname = name.includes(':') ? `[${name}]` : name;
  moved.port = host.slice(at + 1);
  return moved.href;
}

/** True if Redis replied with this error. */
function isReply(cause: unknown): boolean {
  return cause instanceof Error && /^[A-Z]+ /.test(cause.message) && !(cause instanceof LinkError);
}
