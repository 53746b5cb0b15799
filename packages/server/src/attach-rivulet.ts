import { createStreams } from './deliver/streams.js';
import type { LlmService } from './generate/service.js';
import { createLogger, logErrorFacts, type Logger } from './observe/logger.js';
import { resolve } from './settings/resolve-settings.js';
import { type Options, SOCKET_SETTINGS, type SocketSettings } from './settings/settings.js';
import { addressReader } from './socket/client-address.js';
import { serveStreams } from './socket/gateway.js';
import { createGuard } from './socket/guard.js';
import { createOriginCheck } from './socket/origin.js';
import type { Authenticate } from './socket/principal.js';
import { createRateLimits } from './socket/rate-limits.js';
import type { SocketServer } from './socket/socket-server.js';

export interface AttachOptions extends Options<SocketSettings> {
  /** `/` unless given. Other namespaces of the server are left alone. */
  namespace?: string | undefined;
  /** Identifies the user of a connection; without it, each browser is a principal of its own. */
  authenticate?: Authenticate | undefined;
  logger?: Logger | undefined;
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
};

/**
 * Adds Rivulet to an existing Socket.IO server. Reads no environment.
 *
 * @throws {ConfigError} an option is unknown, or has a value that is not allowed.
 */
export function attachRivulet(
  io: SocketServer,
  llm: Pick<LlmService, 'generateResponseStream'>,
  options: AttachOptions = {},
): AttachedRivulet {
  const caller = { name: 'attachRivulet', otherOptions: Object.keys(OTHER_OPTIONS) };
  return attach(io, llm, resolve(SOCKET_SETTINGS, options, {}, caller), options);
}

/** Adds Rivulet to a Socket.IO server, with settings that were checked. */
export function attach(
  io: SocketServer,
  llm: Pick<LlmService, 'generateResponseStream'>,
  { allowedOrigins, trustedProxies, rateLimit, limits }: SocketSettings,
  { namespace = '/', authenticate, ...options }: SocketOptions,
): AttachedRivulet {
  const logger = logErrorFacts(options.logger ?? createLogger('info'));
  const streams = createStreams(
    (request, signal) => llm.generateResponseStream(request, { signal }),
    limits,
  );
  const guard = createGuard(
    {
      checkOrigin: createOriginCheck(allowedOrigins),
      authenticate,
      addressOf: addressReader(trustedProxies, logger),
      limits,
    },
    logger,
  );
  const gateway = serveStreams(io.of(namespace), {
    streams,
    guard,
    limits: createRateLimits(rateLimit),
    logger,
  });

  return {
    async drain(drainMs) {
      gateway.announceClosing(drainMs);
      await streams.drain(drainMs);
    },
    close: () => streams.close(),
  };
}
