import { createStreams, DEFAULT_BOUNDS, type StreamBounds } from './deliver/streams.js';
import type { LlmService } from './generate/service.js';
import { createLogger, logErrorFacts, type Logger } from './observe/logger.js';
import { addressReader } from './socket/client-address.js';
import { serveStreams } from './socket/gateway.js';
import { createGuard, DEFAULT_SOCKET_CAPS, type SocketCaps } from './socket/guard.js';
import { allowOrigins } from './socket/origin.js';
import type { Authenticate } from './socket/principal.js';
import { createRateLimits, DEFAULT_RATE_LIMIT, type RateLimit } from './socket/rate-limits.js';
import type { SocketServer } from './socket/socket-server.js';

export interface AttachOptions {
  /** `/` unless given. Other namespaces of the server are left alone. */
  namespace?: string;
  /** Origins whose pages may connect, or `*`; the pages of this machine unless given. */
  allowedOrigins?: readonly string[] | undefined;
  /** Says who a connection is; without it each browser is a principal of its own. */
  authenticate?: Authenticate | undefined;
  /** New streams of one principal; an address may start ten times as many. 30 in 60 s unless given. */
  rateLimit?: RateLimit;
  /** Whose `X-Forwarded-For` is believed: addresses, networks, `loopback`. Nobody's unless given. */
  trustedProxies?: readonly string[];
  socketCaps?: Partial<SocketCaps>;
  bounds?: Partial<StreamBounds>;
  logger?: Logger;
}

export interface AttachedRivulet {
  /**
   * Takes no new streams, tells every reader to connect elsewhere once it has read what it reads, and
   * resolves when nothing runs any more; what still does after `drainMs` fails as retryable.
   */
  drain(drainMs: number): Promise<void>;
  /** Ends every stream. Connections are the Socket.IO server's own. */
  close(): void;
}

/** Puts Rivulet on a Socket.IO server that is there already. */
export function attachRivulet(
  io: SocketServer,
  llm: Pick<LlmService, 'generateResponseStream'>,
  options: AttachOptions = {},
): AttachedRivulet {
  const logger = logErrorFacts(options.logger ?? createLogger('info'));
  const streams = createStreams(
    (request, signal, preemption) => llm.generateResponseStream(request, { signal, preemption }),
    { ...DEFAULT_BOUNDS, ...options.bounds },
  );
  const guard = createGuard(
    {
      mayConnect: allowOrigins(options.allowedOrigins),
      authenticate: options.authenticate,
      addressOf: addressReader(options.trustedProxies ?? []),
      caps: { ...DEFAULT_SOCKET_CAPS, ...options.socketCaps },
    },
    logger,
  );
  const limits = createRateLimits(options.rateLimit ?? DEFAULT_RATE_LIMIT);
  const namespace = io.of(options.namespace ?? '/');
  const gateway = serveStreams(namespace, { streams, guard, limits, logger });

  return {
    async drain(drainMs) {
      gateway.announceClosing(drainMs);
      await streams.drain(drainMs);
    },
    close: () => streams.close(),
  };
}
