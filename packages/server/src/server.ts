import {
  createServer as createHttpServer,
  type RequestListener,
  type Server as HttpServer,
} from 'node:http';
import type { MeterProvider } from '@opentelemetry/api';
import { type Config, readConfig } from './config.js';
import { createStreams, DEFAULT_BOUNDS, type StreamBounds } from './deliver/streams.js';
import { createResponseCache } from './generate/cache.js';
import { chooseRoute } from './generate/candidates.js';
import type { Route } from './generate/route.js';
import { LlmService } from './generate/service.js';
import type { Tool } from './generate/tools/tool.js';
import type { ToolLimits } from './generate/tools/toolbox.js';
import { createHttpRoutes } from './http.js';
import { listen } from './listen.js';
import { createLogger, type Logger, logErrorFacts } from './observe/logger.js';
import { createMetrics } from './observe/metrics.js';
import { serveStreams } from './socket/gateway.js';
import { allowOrigins } from './socket/origin.js';
import { createSocketServer } from './socket/socket-server.js';

export interface ServerOptions {
  /** What the environment says unless given. */
  config?: Config;
  /** Who answers; chosen by `config.mode` unless given. */
  route?: Route;
  /** Answers the HTTP requests that are not the server's own, such as those for a page. */
  page?: RequestListener;
  /** Answers `/metrics`, such as for Prometheus. */
  metrics?: RequestListener | undefined;
  /** Where what is counted goes; the process's global one unless given. */
  meterProvider?: MeterProvider;
  /** What the model may call; nothing unless given. */
  tools?: readonly Tool[];
  toolLimits?: Partial<ToolLimits>;
  bounds?: Partial<StreamBounds>;
  logger?: Logger;
}

export interface RivuletServer {
  readonly http: HttpServer;
  readonly llm: LlmService;
  /** The names of the providers that answer, in order. */
  readonly providers: readonly string[];
  /** Resolves with the URL once connections are accepted; rejects with a `ConfigError` when it cannot. */
  listen(port?: number): Promise<string>;
  /** Ends all streams and connections. */
  close(): Promise<void>;
}

const CACHE_BYTES = 64 * 1024 * 1024;
const MAX_RESPONSE_UNITS = 2_000_000;

/** The whole server: the streaming core, its streams, and the sockets in front. */
export async function createServer(options: ServerOptions = {}): Promise<RivuletServer> {
  const config = options.config ?? readConfig(process.env);
  const logger = logErrorFacts(options.logger ?? createLogger(config.logLevel));
  const route = options.route ?? (await chooseRoute(config, logger));
  const { systemPrompt, temperature, topP, topK, maxTokens } = config;
  const llm = new LlmService({
    route,
    onMidstreamFailure: config.onMidstreamFailure,
    maxQueued: config.maxQueued,
    prompt: { systemPrompt, temperature, topP, topK, maxTokens },
    cache: config.cache.enabled
      ? createResponseCache({ ttlSeconds: config.cache.ttlSeconds, maxBytes: CACHE_BYTES })
      : undefined,
    tools: options.tools ?? [],
    toolLimits: options.toolLimits ?? {},
    maxResponseUnits: MAX_RESPONSE_UNITS,
    logger,
    metrics: createMetrics(options.meterProvider),
  });
  const streams = createStreams(
    (request, signal) => llm.generateResponseStream(request, { signal }),
    { ...DEFAULT_BOUNDS, ...options.bounds },
  );

  let closing = false;
  const unready = (): string | undefined => {
    if (closing) return 'the server is shutting down';
    return http.listening ? undefined : 'the server is not listening';
  };
  const { metrics, page } = options;
  const http = createHttpServer(createHttpRoutes({ unready, metrics, page }));
  const io = createSocketServer(http, allowOrigins(config.allowedOrigins), logger);
  serveStreams(io, streams, logger);

  return {
    http,
    llm,
    providers: route.map(({ provider }) => provider.name),
    listen: (port = config.port) => listen(http, config.host, port),
    async close() {
      closing = true;
      streams.close();
      // Ends the HTTP server, too, which waits for the connections that pages keep open.
      const closed = io.close();
      http.closeAllConnections();
      await closed;
    },
  };
}
