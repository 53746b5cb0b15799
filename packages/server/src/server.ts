import {
  createServer as createHttpServer,
  type RequestListener,
  type Server as HttpServer,
} from 'node:http';
import type { Socket } from 'node:net';
import { attachRivulet, type AttachOptions } from './attach-rivulet.js';
import { readConfig } from './config.js';
import { type CoreOptions, createLlmService } from './create-llm-service.js';
import type { LlmService } from './generate/service.js';
import { createHttpRoutes } from './http.js';
import { listen } from './listen.js';
import { createLogger, logErrorFacts } from './observe/logger.js';
import { allowOrigins } from './socket/origin.js';
import { createSocketServer } from './socket/socket-server.js';

export interface ServerOptions
  extends CoreOptions, Pick<AttachOptions, 'authenticate' | 'bounds' | 'socketCaps'> {
  /** Answers the HTTP requests that are not the server's own, such as those for a page. */
  page?: RequestListener;
  /** Answers `/metrics`, such as for Prometheus. */
  metrics?: RequestListener | undefined;
}

export interface RivuletServer {
  readonly http: HttpServer;
  readonly llm: LlmService;
  /** The names of the providers that answer, in order. */
  readonly providers: readonly string[];
  /** Resolves with the URL once connections are accepted; rejects with a `ConfigError` when it cannot. */
  listen(port?: number): Promise<string>;
  /**
   * Before `close`, so that nobody loses an answer: takes no new streams, tells every reader to connect
   * elsewhere once it has read what it reads, and resolves when nothing runs any more; what still does
   * after `drainMs` (as configured, unless given) fails as retryable.
   */
  drain(drainMs?: number): Promise<void>;
  /** Ends all streams and connections. */
  close(): Promise<void>;
}

/** In which clients can answer the end of their connection. */
const CLOSING_MS = 500;

/** The whole server: the streaming core, its streams, and the sockets in front. */
export async function createServer(options: ServerOptions = {}): Promise<RivuletServer> {
  const config = options.config ?? readConfig(process.env);
  const logger = logErrorFacts(options.logger ?? createLogger(config.logLevel));
  const llm = await createLlmService({ ...options, config, logger });

  let closing = false;
  const unready = (): string | undefined => {
    if (closing) return 'the server is shutting down';
    return http.listening ? undefined : 'the server is not listening';
  };
  const { metrics, page } = options;
  const http = createHttpServer(createHttpRoutes({ unready, metrics, page }));
  const tcpSockets = new Set<Socket>();
  http.on('connection', (socket) => {
    tcpSockets.add(socket);
    socket.once('close', () => tcpSockets.delete(socket));
  });
  const { allowedOrigins, rateLimit, trustedProxies, drainMs: configuredDrainMs } = config;
  const io = createSocketServer(http, allowOrigins(allowedOrigins), logger);
  const rivulet = attachRivulet(io, llm, {
    ...options,
    allowedOrigins,
    rateLimit,
    trustedProxies,
    logger,
  });

  return {
    http,
    llm,
    providers: llm.providerStatus().map(({ name }) => name),
    listen: (port = config.port) => listen(http, config.host, port),
    drain(drainMs = configuredDrainMs) {
      closing = true;
      return rivulet.drain(drainMs);
    },
    async close() {
      closing = true;
      rivulet.close();
      // Ends the HTTP server, too, which waits for the connections that pages keep open.
      const closed = io.close();
      http.closeAllConnections();
      // A client that is gone without a word would be waited for.
      const late = setTimeout(() => tcpSockets.forEach((socket) => socket.destroy()), CLOSING_MS);
      await closed;
      clearTimeout(late);
    },
  };
}
