import {
  createServer as createHttpServer,
  type RequestListener,
  type Server as HttpServer,
} from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { attach, type AttachOptions, createDelivery, shareStreams } from './attach-rivulet.js';
import { type CoreOptions, createServiceFromSettings } from './create-llm-service.js';
import type { LlmService } from './generate/service.js';
import { createHttpRoutes, type Readiness } from './http.js';
import { listen } from './listen.js';
import { createLogger, logErrorFacts } from './observe/logger.js';
import { REDIS_START_MS } from './redis/import-redis.js';
import { resolve } from './settings/resolve-settings.js';
import { type Options, SETTINGS, type Settings } from './settings/settings.js';
import { addressReader } from './socket/client-address.js';
import type { Connection } from './socket/connection.js';
import { createConnectionLimiter } from './socket/connection-limiter.js';
import { createOriginCheck } from './socket/origin.js';
import { createSocketServer, type SocketServer } from './socket/socket-server.js';
import type { ProviderStatus } from './upstream/failover.js';

/** Every setting of `docs/server-options.md`, and the options that have no environment variable. */
export interface ServerOptions
  extends
    Options<Settings>,
    CoreOptions,
    Pick<AttachOptions, 'authenticate' | 'prepare' | 'onEnd'> {
  /** Handles the HTTP requests that the server does not handle itself, such as those for a page. */
  page?: RequestListener | undefined;
  /** Handles requests for `/metrics`, unless `metricsEnabled` is false. */
  metrics?: RequestListener | undefined;
}

export interface RivuletServer {
  readonly http: HttpServer;
  readonly llm: LlmService;
  /** The names of the providers, in order. */
  readonly providers: readonly string[];
  /**
   * Listens on `port`. The port of the settings unless given.
   *
   * @returns the URL, once connections are accepted.
   * @throws {ConfigError} the port is in use, or the host is not an address of this machine.
   */
  listen(port?: number): Promise<string>;
  /**
   * Refuses new streams and tells every reader to reconnect to another server once it has read its streams.
   * Resolves when no stream is active and `onEnd` has returned for all of them. Streams that are still active
   * after `drainMs` milliseconds (`drainSeconds` of the settings unless given) fail with a retryable error.
   * Call it before `close()`, so that no reader loses an answer.
   */
  drain(drainMs?: number): Promise<void>;
  /** See `AttachedRivulet`. */
  forget(principal: string): Promise<void>;
  /** See `AttachedRivulet`. */
  disconnect(principal: string): void;
  /** Ends all streams and connections. */
  close(): Promise<void>;
}

/** Interval in milliseconds between two looks at what is not sent yet. */
const UNSENT_CHECK_MS = 20;
/** Milliseconds for sending the last messages of each stream. A client that polls has to ask for them. */
const LAST_MESSAGES_MS = 1_000;
/** Milliseconds for clients to confirm the end of their connection. */
const CLOSING_MS = 500;
/** Milliseconds after which the server starts without Redis, if it has waited for Redis before. */
const AFTER_WAIT_MS = 200;

const OTHER_OPTIONS: Record<Exclude<keyof ServerOptions, keyof Settings>, true> = {
  providers: true,
  tools: true,
  authenticate: true,
  prepare: true,
  onEnd: true,
  page: true,
  metrics: true,
  logger: true,
  meterProvider: true,
  env: true,
};

/**
 * Creates the whole server: the streaming core, its streams, and the sockets.
 *
 * @throws {ConfigError} an option or a variable has a value that is not allowed, or an option is unknown.
 */
export async function createServer(options: ServerOptions = {}): Promise<RivuletServer> {
  const caller = { name: 'createServer', otherOptions: Object.keys(OTHER_OPTIONS) };
  const settings = resolve(SETTINGS, options, options.env ?? process.env, caller);
  const logger = logErrorFacts(options.logger ?? createLogger(settings.logLevel));
  const { llm, shared: sharedState } = await createServiceFromSettings(settings, {
    ...options,
    logger,
  });

  const redis = shareStreams(settings.redis, logger, options.meterProvider);

  let closing = false;
  const readiness = (): Readiness => {
    if (closing) return { status: 'unready', reason: 'the server is shutting down' };
    if (!http.listening) return { status: 'unready', reason: 'the server is not listening' };
    return readinessOf(llm.providerStatus(), redis?.streams?.problem);
  };
  const { page, authenticate, prepare, onEnd } = options;
  const metrics = settings.metricsEnabled ? options.metrics : undefined;
  const http = createHttpServer(createHttpRoutes({ readiness, metrics, page }));
  const tcpSockets = new Set<Socket>();
  http.on('connection', (socket) => {
    tcpSockets.add(socket);
    socket.once('close', () => tcpSockets.delete(socket));
  });
  const { limits } = settings;
  const addressOf = addressReader(settings.trustedProxies, logger);
  const delivery = createDelivery('/', options.meterProvider, logger);
  const { refusals } = delivery;
  const limiter = createConnectionLimiter({ limits, addressOf, namespace: undefined, refusals });
  const checkOrigin = createOriginCheck(settings.allowedOrigins);
  const io = createSocketServer(http, checkOrigin, limiter, refusals, settings.socketPath);
  const socketOptions = { authenticate, prepare, onEnd, logger };
  const createStreams = redis && { createStreams: redis.createStreams };
  const shared = { ...delivery, limiter, ...createStreams };
  const rivulet = attach(io, llm, settings, socketOptions, shared);
  const reachMs = sharedState?.isUp === true ? REDIS_START_MS : AFTER_WAIT_MS;
  await redis?.streams?.reached(reachMs, sharedState?.problem);

  return {
    http,
    llm,
    providers: llm.providerStatus().map(({ name }) => name),
    listen: (port = settings.port) => listen(http, settings.host, port),
    drain(drainMs = settings.drainSeconds * 1000) {
      closing = true;
      return rivulet.drain(drainMs);
    },
    forget: rivulet.forget,
    disconnect: rivulet.disconnect,
    async close() {
      closing = true;
      rivulet.close();
      llm.close();
      await untilSent(io);
      // Also closes the HTTP server, which waits for keep-alive connections of pages.
      const closed = io.close();
      http.closeAllConnections();
      // A client that has lost its network never responds.
      const late = setTimeout(() => tcpSockets.forEach((socket) => socket.destroy()), CLOSING_MS);
      await closed;
      clearTimeout(late);
    },
  };
}

/** Resolves when no connection has anything left in its buffer, or after `LAST_MESSAGES_MS`. */
async function untilSent(io: SocketServer): Promise<void> {
  const until = performance.now() + LAST_MESSAGES_MS;
  const connections: Record<string, Connection> = io.engine['clients'];
  const hasUnsent = () => Object.values(connections).some((each) => each['writeBuffer'].length > 0);
  do await wait(UNSENT_CHECK_MS);
  while (hasUnsent() && performance.now() < until);
}

/** An unavailable provider may recover by itself; a misconfigured one needs an operator. */
function readinessOf(
  providers: readonly ProviderStatus[],
  redisProblem: string | undefined,
): Readiness {
  const problems = providers.flatMap(({ name, problem }) => {
    if (problem === undefined) return [];
    const { failure, advice = 'The log says why' } = problem;
    return `${name}: ${failure}. ${advice}`;
  });
  if (problems.length === 0 && redisProblem === undefined) return { status: 'ready' };
  const canAnswer = providers.some(({ problem }) => problem?.failure !== 'misconfigured');
  if (canAnswer) {
    const redisProblems = redisProblem === undefined ? [] : [redisProblem];
    return { status: 'degraded', problems: [...problems, ...redisProblems] };
  }
  return { status: 'unready', reason: 'no provider is configured correctly', problems };
}
