import { readFile } from 'node:fs/promises';
import {
  createServer as createHttpServer,
  type RequestListener,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { type Config, ConfigError, readConfig } from './config.js';
import { createStreams, DEFAULT_BOUNDS, type StreamBounds } from './deliver/streams.js';
import { createResponseCache } from './generate/cache.js';
import { chooseRoute } from './generate/candidates.js';
import { documentPath } from './generate/providers/docs-sections.js';
import type { Route } from './generate/route.js';
import { LlmService } from './generate/service.js';
import type { Tool } from './generate/tools/tool.js';
import type { ToolLimits } from './generate/tools/toolbox.js';
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
  const logger = options.logger ?? createLogger(config.logLevel);
  const route = options.route ?? (await chooseRoute(config, logger));
  const { systemPrompt, temperature, topP, topK, maxTokens } = config;
  const llm = new LlmService({
    route,
    prompt: { systemPrompt, temperature, topP, topK, maxTokens },
    cache: config.cache.enabled
      ? createResponseCache({ ttlSeconds: config.cache.ttlSeconds, maxBytes: CACHE_BYTES })
      : undefined,
    tools: options.tools ?? [],
    toolLimits: options.toolLimits ?? {},
    maxResponseUnits: MAX_RESPONSE_UNITS,
    logger,
    metrics: createMetrics(),
  });
  const streams = createStreams(
    (request, signal) => llm.generateResponseStream(request, { signal }),
    { ...DEFAULT_BOUNDS, ...options.bounds },
  );

  const http = createHttpServer((request, response) => {
    const name = /^\/docs\/([^?]*)/.exec(request.url ?? '')?.[1];
    if (name !== undefined) sendDocument(documentPath(name), response);
    else if (options.page) options.page(request, response);
    else sendNotFound(response);
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
    const fail = (error: NodeJS.ErrnoException): void => reject(explain(error, host, port));
    http.once('error', fail);
    http.listen(port, host, () => {
      http.off('error', fail);
      const address = http.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      const everywhere = host === '0.0.0.0' || host === '::' || host === '127.0.0.1';
      resolve(
        `http://${everywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host}:${bound}`,
      );
    });
  });
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): Error {
  switch (error.code) {
    case 'EADDRINUSE':
    case 'EACCES': {
      const why = error.code === 'EACCES' ? 'this user may not listen on' : 'another process has';
      const message = `PORT is ${port}, which ${why}; it may be any other, or 0 for a free one`;
      return new ConfigError(message, { cause: error });
    }
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EADDRNOTAVAIL': {
      const message = `HOST is ${JSON.stringify(host)}; it may be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all`;
      return new ConfigError(message, { cause: error });
    }
    default:
      return error;
  }
}

/** Whether `listen` was refused because another process has the port. */
export function isPortTaken(error: unknown): boolean {
  const cause = error instanceof ConfigError ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
}

const PLAIN_TEXT = { 'content-type': 'text/plain; charset=utf-8' };

/** The documents that answers of the docs provider link to. */
function sendDocument(path: string | undefined, response: ServerResponse): void {
  if (path === undefined) return sendNotFound(response);
  readFile(path, 'utf8').then(
    (markdown) => response.writeHead(200, PLAIN_TEXT).end(markdown),
    () => sendNotFound(response),
  );
}

function sendNotFound(response: ServerResponse): void {
  response.writeHead(404, PLAIN_TEXT).end('not found\n');
}
