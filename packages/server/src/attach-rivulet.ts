import type { Generate } from './deliver/generation.js';
import { RedisStreamDirectory } from './deliver/redis/directory.js';
import type { StreamDirectory } from './deliver/stream-directory.js';
import {
  type StreamLimits,
  StreamRegistry,
  type StreamRegistryOptions,
} from './deliver/stream-registry.js';
import type { MeterProvider } from '@opentelemetry/api';
import type { CacheScope } from './generate/cache.js';
import type { LlmService } from './generate/service.js';
import type { OnEnd, Prepare } from './hooks.js';
import { createDeliveryMetrics, type DeliveryMetrics } from './observe/delivery-metrics.js';
import { createLogger, logErrorFacts, type Logger } from './observe/logger.js';
import { importRedis, REDIS_START_MS } from './redis/import-redis.js';
import { userId } from './request.js';
import { ConfigError, resolve } from './settings/resolve-settings.js';
import {
  type Options,
  REDIS_SETTINGS,
  type RedisSettings,
  SOCKET_SETTINGS,
  type SocketSettings,
} from './settings/settings.js';
import { addressReader } from './socket/client-address.js';
import { serveStreams } from './socket/gateway.js';
import type { Connection } from './socket/connection.js';
import { createGuard } from './socket/guard.js';
import { createConnectionLimiter, type ConnectionLimiter } from './socket/connection-limiter.js';
import { createOriginCheck } from './socket/origin.js';
import type { Authenticate } from './socket/principal.js';
import { createRateLimits } from './socket/rate-limits.js';
import { Refusals } from './socket/refusals.js';
import type { SocketServer } from './socket/socket-server.js';

export interface AttachOptions extends Options<SocketSettings & RedisSettings> {
  /** The namespace that Rivulet uses. `/` unless given. Other namespaces of the server are not changed. */
  namespace?: string | undefined;
  /** Identifies the user of a connection. Without it, each browser is a separate principal. */
  authenticate?: Authenticate | undefined;
  /** Chooses model, system prompt, context, tools and limits of each answer, or refuses it. */
  prepare?: Prepare | undefined;
  /** Called once for each stream that has ended, to keep a transcript or to bill its tokens. */
  onEnd?: OnEnd | undefined;
  logger?: Logger | undefined;
  /** Receives the metrics of connections and streams. The process's global meter provider unless given. */
  meterProvider?: MeterProvider | undefined;
}

/** The options that are not settings. */
type SocketOptions = Omit<AttachOptions, keyof (SocketSettings & RedisSettings)>;

export interface AttachedRivulet {
  /**
   * Refuses new streams and tells every reader to reconnect to another server once it has read its streams.
   * Resolves when no stream is active and `onEnd` has returned for all of them. Streams that are still active
   * after `drainMs` milliseconds fail with a retryable error; calls of `onEnd` have one second after that.
   */
  drain(drainMs: number): Promise<void>;
  /**
   * Removes the data of a user: running streams (their readers receive `cancelled`) and ended streams, cached
   * answers that were generated for the user, and the counts of the rate limits. Later requests of the user
   * work as if they were the first. Open connections stay open.
   *
   * Resolves when the data is removed and `onEnd` has returned for the streams of the user, after 30 s at the
   * latest.
   *
   * @param principal the id that `authenticate` returned, or the id that the hooks receive.
   * @throws {TypeError} the application's own cache has no `forget`; all other data is removed.
   */
  forget(principal: string): Promise<void>;
  /**
   * Closes the connections of a user on this server. The clients reconnect, and meet `authenticate` again, so block the
   * user there first. The user's running streams end as if the readers were disconnected. Other servers have to be
   * asked, too, with and without Redis.
   *
   * @param principal the id that `authenticate` returned, or the id that the hooks receive.
   */
  disconnect(principal: string): void;
  /**
   * Ends every stream. With Redis, other processes continue the running streams. Does not close the
   * connections, which belong to the Socket.IO server.
   */
  close(): void;
}

const OTHER_OPTIONS: Record<keyof SocketOptions, true> = {
  namespace: true,
  authenticate: true,
  prepare: true,
  onEnd: true,
  logger: true,
  meterProvider: true,
};

/**
 * Generates the answers: an `LlmService`, or an object with its `generateResponseStream`. If the object has a
 * method `writeResponse`, Rivulet calls that method instead, because it costs less for each token. Both
 * receive the changes of `prepare` as `prepared` in their options.
 */
export type ResponseSource = Pick<LlmService, 'generateResponseStream'> &
  Partial<Pick<LlmService, 'writeResponse' | 'cacheScope' | 'hasTools' | 'forget'>>;

/**
 * Adds Rivulet to an existing Socket.IO server. Does not read the environment.
 *
 * @throws {ConfigError} an option is unknown or has a value that is not allowed, or the Socket.IO server uses
 * `connectionStateRecovery`.
 */
export function attachRivulet(
  io: SocketServer,
  llm: ResponseSource,
  options: AttachOptions = {},
): AttachedRivulet {
  const caller = { name: 'attachRivulet', otherOptions: Object.keys(OTHER_OPTIONS) };
  const table = { ...SOCKET_SETTINGS, ...REDIS_SETTINGS };
  const settings = resolve<SocketSettings & RedisSettings>(table, options, {}, caller);
  if (io['_opts'].connectionStateRecovery !== undefined) {
    throw new ConfigError(
      'unable to attach: the Socket.IO server has connectionStateRecovery, which replays messages that ' +
        'Rivulet sends again by itself; remove that option',
    );
  }
  const { namespace = '/' } = options;
  const logger = logErrorFacts(options.logger ?? createLogger('info'));
  const addressOf = addressReader(settings.trustedProxies, logger);
  const delivery = createDelivery(namespace, options.meterProvider, logger);
  const { refusals } = delivery;
  const limiter = createConnectionLimiter({
    limits: settings.limits,
    addressOf,
    namespace,
    refusals,
  });
  watchConnections(io, namespace, limiter);
  const redis = shareStreams(settings.redis, logger, options.meterProvider);
  const createStreams = redis && { createStreams: redis.createStreams };
  const shared = { ...delivery, limiter, ...createStreams };
  const rivulet = attach(io, llm, settings, { ...options, namespace, logger }, shared);
  void redis?.streams?.reached(REDIS_START_MS);
  return rivulet;
}

export interface StreamsInRedis {
  readonly createStreams: CreateStreams;
  /** Present once `createStreams` was called. */
  streams?: RedisStreamDirectory;
}

/** @returns undefined if the streams are not shared with other processes. */
export function shareStreams(
  { url, ...rest }: RedisSettings['redis'],
  logger: Logger,
  meterProvider: MeterProvider | undefined,
): StreamsInRedis | undefined {
  if (url === undefined) return undefined;
  const createClient = importRedis();
  const redis: StreamsInRedis = {
    createStreams: (generate, limits, options) =>
      (redis.streams = new RedisStreamDirectory(
        generate,
        limits,
        { url, ...rest },
        createClient,
        logger,
        { ...options, meterProvider },
      )),
  };
  return redis;
}

/** Counts the packets of each connection, beginning with its first packet. */
function watchConnections(io: SocketServer, namespace: string, limiter: ConnectionLimiter): void {
  let isWatching = false;
  function watch(): void {
    // Undefined until the Socket.IO server is attached to an HTTP server.
    const engine = io.engine as SocketServer['engine'] | undefined;
    if (isWatching || engine === undefined) return;
    isWatching = true;
    engine.on('connection', (connection: Connection) => void limiter.accountOf(connection));
  }
  watch();
  io.of(namespace).use((_, next) => {
    watch();
    next();
  });
}

/** The limits and metrics that the connections and streams of one namespace share. */
export interface Delivery {
  limiter: ConnectionLimiter;
  refusals: Refusals;
  /** Registers a function that reads the sizes. @returns a function that removes it. */
  observe(read: Parameters<DeliveryMetrics['observe']>[0]): () => void;
  /**
   * Creates the directory of the streams. Unless given, the directory holds only the streams of this process.
   */
  createStreams?: CreateStreams;
}

export type CreateStreams = (
  generate: Generate,
  limits: StreamLimits,
  options: StreamRegistryOptions,
) => StreamDirectory;

export function createDelivery(
  namespace: string,
  meterProvider: MeterProvider | undefined,
  logger: Logger,
): Omit<Delivery, 'limiter'> {
  const metrics = createDeliveryMetrics(meterProvider);
  // A process may serve several namespaces.
  const attributes = namespace === '/' ? {} : { namespace };
  return {
    refusals: new Refusals(metrics.refused, attributes, logger),
    observe: (read) => metrics.observe(read, attributes),
  };
}

/** Adds Rivulet to a Socket.IO server. The settings are checked already. */
export function attach(
  io: SocketServer,
  llm: ResponseSource,
  { allowedOrigins, rateLimit, limits }: SocketSettings,
  { namespace = '/', authenticate, prepare, onEnd, logger }: SocketOptions & { logger: Logger },
  { limiter, refusals, observe, createStreams = createRegistry }: Delivery,
): AttachedRivulet {
  const defaultCacheScope = authenticate === undefined ? 'shared' : 'principal';
  const { hasTools = true, cacheScope = defaultCacheScope } = llm;
  const streams = createStreams(toGenerate(llm, defaultCacheScope), limits, {
    // A tool runs for one principal, so its result may be private to that principal.
    isShared: cacheScope === 'shared' && !hasTools,
    hooks: { prepare, onEnd, logger },
  });
  const checkOrigin = createOriginCheck(allowedOrigins);
  const guard = createGuard({ checkOrigin, authenticate, limiter, refusals });
  const rateLimits = createRateLimits(rateLimit, streams.counts);
  const gateway = serveStreams(io.of(namespace), {
    streams,
    guard,
    limiter,
    limits: rateLimits,
    refusals,
    logger,
  });

  const idOf = (principal: string): string =>
    authenticate === undefined ? principal : userId(principal);
  let isDraining = false;
  const { maxConnections, maxLogBytes } = limits;
  const endObserving = observe(() => ({
    connections: limiter.size.connections,
    ...streams.size,
    maxConnections,
    maxLogBytes,
    isDraining,
  }));

  return {
    async drain(drainMs) {
      isDraining = true;
      gateway.announceClosing(drainMs);
      await streams.drain(drainMs);
    },
    disconnect: (principal) => gateway.disconnect(idOf(principal)),
    async forget(principal) {
      const id = idOf(principal);
      // The application may also have called `llm` directly, with the name that `authenticate` returned.
      const ids = new Set([id, principal]);
      const removed = await Promise.allSettled([
        streams.forget(id),
        ...[...ids].map(async (each) => llm.forget?.(each)),
        rateLimits.forget(id),
      ]);
      for (const result of removed) if (result.status === 'rejected') throw result.reason;
    },
    close() {
      endObserving();
      refusals.close();
      streams.close();
    },
  };
}

const createRegistry: CreateStreams = (...args) => new StreamRegistry(...args);

function toGenerate(llm: ResponseSource, defaultCacheScope: CacheScope): Generate {
  const { writeResponse } = llm;
  if (writeResponse !== undefined) {
    // In V8, each copy by spreading has a hidden class of its own.
    return (request, sink, options) => {
      const { signal, preemption, mayRestart, onUsage, prepared, replies, resumed } = options;
      const { requestId, connectionId } = options;
      const passed = {
        signal,
        preemption,
        mayRestart,
        onUsage,
        prepared,
        replies,
        resumed,
        requestId,
        connectionId,
        defaultCacheScope,
      };
      return writeResponse.call(llm, request, sink, passed);
    };
  }
  return async (request, sink, options) => {
    for await (const entry of llm.generateResponseStream(request, {
      ...options,
      defaultCacheScope,
    })) {
      if (options.signal.aborted) return;
      await sink.write(entry);
      if (entry.type === 'end' || entry.type === 'error') return;
    }
  };
}
