import { readFile } from 'node:fs/promises';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { type Config, readConfig } from './config.js';
import { createStreams, DEFAULT_BOUNDS, type StreamBounds } from './deliver/streams.js';
import { createResponseCache } from './generate/cache.js';
import { chooseRoute } from './generate/candidates.js';
import { documentPath } from './generate/providers/docs-sections.js';
import type { Route } from './generate/route.js';
import { LlmService } from './generate/service.js';
import { createLogger, type Logger } from './observe/logger.js';
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
  bounds?: Partial<StreamBounds>;
  logger?: Logger;
}

export interface RivuletServer {
  readonly http: HttpServer;
  readonly llm: LlmService;
  /** The names of the providers that answer, in order. */
  readonly providers: readonly string[];
  /** Resolves with the URL once connections are accepted; rejects when the port is taken. */
  listen(port?: number): Promise<string>;
  /** Ends all streams and connections. */
  close(): Promise<void>;
}

const CACHE_BYTES = 64 * 1024 * 1024;
const MAX_RESPONSE_UNITS = 2_000_000;

/** The whole server: the streaming core, its streams, and the sockets in front. */
export async function createServer(options: ServerOptions = {}): Promise<RivuletServer> {
  const config = options.config ?? readConfig(process.env);
  const logger = options.logger ?? createLogger(config.logLevel);
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
    maxResponseUnits: MAX_RESPONSE_UNITS,
    logger,
    metrics: createMetrics(),
  });
  const streams = createStreams(
    (request, signal) => llm.generateResponseStream(request, { signal }),
    { ...DEFAULT_BOUNDS, ...options.bounds },
  );

  const http = createHttpServer((request, response) => {
    const document = documentOf(request);
    if (document !== undefined) sendDocument(document, response);
    else if (options.page) options.page(request, response);
    else response.writeHead(404, PLAIN_TEXT).end('not found\n');
  });
  const io = createSocketServer(http, allowOrigins(config.allowedOrigins), logger);
  serveStreams(io, streams, logger);

  return {
    http,
    llm,
    providers: route.map(({ provider }) => provider.name),
    listen: (port = config.port) => listen(http, config.host, port),
    async close() {
      streams.close();
      // Ends the HTTP server, too, which waits for the connections that pages keep open.
      const closed = io.close();
      http.closeAllConnections();
      await closed;
    },
  };
}

function listen(http: HttpServer, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    http.once('error', reject);
    http.listen(port, host, () => {
      http.off('error', reject);
      const address = http.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      const everywhere = host === '0.0.0.0' || host === '::' || host === '127.0.0.1';
      resolve(
        `http://${everywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host}:${bound}`,
      );
    });
  });
}

const PLAIN_TEXT = { 'content-type': 'text/plain; charset=utf-8' };

/** The path of the document that a request names; answers of the docs provider link to them. */
function documentOf({ url = '' }: IncomingMessage): string | undefined {
  const name = /^\/docs\/([\w.-]+)(?:\?|$)/.exec(url)?.[1];
  return name === undefined ? undefined : documentPath(name);
}

function sendDocument(path: string, response: ServerResponse): void {
  readFile(path, 'utf8').then(
    (markdown) => response.writeHead(200, PLAIN_TEXT).end(markdown),
    () => response.writeHead(500, PLAIN_TEXT).end('unable to read the document\n'),
  );
}
