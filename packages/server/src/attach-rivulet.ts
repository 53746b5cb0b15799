import type { Generate } from './deliver/generation.js';
import { StreamRegistry } from './deliver/stream-registry.js';
import type { MeterProvider } from '@opentelemetry/api';
import type { CacheScope } from './generate/cache.js';
import type { LlmService } from './generate/service.js';
import { createDeliveryMetrics, type DeliveryMetrics } from './observe/delivery-metrics.js';
import { createLogger, logErrorFacts, type Logger } from './observe/logger.js';
import { ConfigError, resolve } from './settings/resolve-settings.js';
import { type Options, SOCKET_SETTINGS, type SocketSettings } from './settings/settings.js';
import { addressReader } from './socket/client-address.js';
import { serveStreams } from './socket/gateway.js';
import type { Connection } from './socket/connection.js';
import { createGuard } from './socket/guard.js';
import { createLedger, type Ledger } from './socket/ledger.js';
import { createOriginCheck } from './socket/origin.js';
import type { Authenticate } from './socket/principal.js';
import { createRateLimits } from './socket/rate-limits.js';
import { Refusals } from './socket/refusals.js';
import type { SocketServer } from './socket/socket-server.js';

export interface AttachOptions extends Options<SocketSettings> {
  /** `/` unless given. Other namespaces of the server are left alone. */
  namespace?: string | undefined;
  /** Identifies the user of a connection; without it, each browser is a principal of its own. */
  authenticate?: Authenticate | undefined;
  logger?: Logger | undefined;
  /** Receives the metrics of connections and streams; the process's global meter provider unless given. */
  meterProvider?: MeterProvider | undefined;
}

/** The options that are not settings. */
type SocketOptions = Omit<AttachOptions, keyof SocketSettings>;

export interface AttachedRivulet {
  /**
   * Refuses new streams, and tells every reader to reconnect elsewhere once it has read its streams.
   * Resolves when no stream is active; streams that still are after `drainMs` fail as retryable.
   */
  drain(drainMs: number): Promise<void>;
  /** Ends every stream. The connections belong to the Socket.IO server. */
  close(): void;
}

const OTHER_OPTIONS: Record<keyof SocketOptions, true> = {
  namespace: true,
  authenticate: true,
  logger: true,
  meterProvider: true,
};

/**
 * Gives the answers: an `LlmService`, or an object with its `generateResponseStream`. A method
 * `writeResponse` is used instead where there is one, because it costs less for each token.
 */
export type ResponseSource = Pick<LlmService, 'generateResponseStream'> &
  Partial<Pick<LlmService, 'writeResponse' | 'cacheScope' | 'hasTools'>>;

/**
 * Adds Rivulet to an existing Socket.IO server. Reads no environment.
 *
 * @throws {ConfigError} an option is unknown, or has a value that is not allowed; or the Socket.IO server
 * has `connectionStateRecovery`.
 */
export function attachRivulet(
  io: SocketServer,
  llm: ResponseSource,
  options: AttachOptions = {},
): AttachedRivulet {
  const caller = { name: 'attachRivulet', otherOptions: Object.keys(OTHER_OPTIONS) };
  const settings = resolve(SOCKET_SETTINGS, options, {}, caller);
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
  const ledger = createLedger({ limits: settings.limits, addressOf, namespace, refusals });
  watchConnections(io, namespace, ledger);
  return attach(io, llm, settings, { ...options, namespace, logger }, { ...delivery, ledger });
}

/** Counts packets from the first one of a connection on. */
function watchConnections(io: SocketServer, namespace: string, ledger: Ledger): void {
  let isWatching = false;
  function watch(): void {
    // Undefined until the Socket.IO server is attached to an HTTP server.
    const engine = io.engine as SocketServer['engine'] | undefined;
    if (isWatching || engine === undefined) return;
    isWatching = true;
    engine.on('connection', (connection: Connection) => void ledger.accountOf(connection));
  }
  watch();
  io.of(namespace).use((_, next) => {
    watch();
    next();
  });
}

/** What the connections and streams of one namespace have in common. */
export interface Delivery {
  ledger: Ledger;
  refusals: Refusals;
  /** Registers how the sizes are read. @returns a function that ends this. */
  observe(read: Parameters<DeliveryMetrics['observe']>[0]): () => void;
}

export function createDelivery(
  namespace: string,
  meterProvider: MeterProvider | undefined,
  logger: Logger,
): Omit<Delivery, 'ledger'> {
  const metrics = createDeliveryMetrics(meterProvider);
  // A process may have several.
  const attributes = namespace === '/' ? {} : { namespace };
  return {
    refusals: new Refusals(metrics.refused, attributes, logger),
    observe: (read) => metrics.observe(read, attributes),
  };
}

/** Adds Rivulet to a Socket.IO server, with settings that were checked. */
export function attach(
  io: SocketServer,
  llm: ResponseSource,
  { allowedOrigins, rateLimit, limits }: SocketSettings,
  { namespace = '/', authenticate, logger }: SocketOptions & { logger: Logger },
  { ledger, refusals, observe }: Delivery,
): AttachedRivulet {
  const defaultCacheScope = authenticate === undefined ? 'shared' : 'principal';
  const { hasTools = true, cacheScope = defaultCacheScope } = llm;
  const streams = new StreamRegistry(generateOf(llm, defaultCacheScope), limits, {
    // A tool runs for the principal that asked, so its result may be for that principal alone.
    isShared: cacheScope === 'shared' && !hasTools,
  });
  const checkOrigin = createOriginCheck(allowedOrigins);
  const guard = createGuard({ checkOrigin, authenticate, ledger, refusals });
  const gateway = serveStreams(io.of(namespace), {
    streams,
    guard,
    ledger,
    limits: createRateLimits(rateLimit),
    refusals,
    logger,
  });

  const endObserving = observe(() => ({
    connections: ledger.size.connections,
    ...streams.size,
  }));

  return {
    async drain(drainMs) {
      gateway.announceClosing(drainMs);
      await streams.drain(drainMs);
    },
    close() {
      endObserving();
      refusals.close();
      streams.close();
    },
  };
}

function generateOf(llm: ResponseSource, defaultCacheScope: CacheScope): Generate {
  const { writeResponse } = llm;
  if (writeResponse !== undefined) {
    // V8 gives each copy by spreading a hidden class of its own.
    return (request, sink, { signal, preemption, mayRestart, requestId, connectionId }) => {
      const ids = { requestId, connectionId };
      const options = { signal, preemption, mayRestart, ...ids, defaultCacheScope };
      return writeResponse.call(llm, request, sink, options);
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
