import type { Server as HttpServer } from 'node:http';
import { LIMITS } from '@rivulet/protocol';
import { Server } from 'socket.io';
import type { Logger } from '../observe/logger.js';
import type { OriginCheck } from './origin.js';

const CONNECT_TIMEOUT_MS = 10_000;
// Anyone may send anything.
const MAX_LOGGED_UNITS = 200;

/** A Socket.IO server that takes no more than Rivulet's messages need, from pages that may connect. */
export function createSocketServer(
  http: HttpServer,
  mayConnect: OriginCheck,
  logger: Logger,
): Server {
  return new Server(http, {
    allowRequest: (request, decide) => {
      const allowed = mayConnect(request);
      if (!allowed) {
        const origin = request.headers.origin?.slice(0, MAX_LOGGED_UNITS);
        logger.warn({ event: 'ORIGIN_REFUSED', origin, hint: 'name it in ALLOWED_ORIGINS' });
      }
      decide(allowed ? null : 'origin not allowed', allowed);
    },
    cors: {
      origin: (origin, decide) => decide(null, mayConnect({ headers: origin ? { origin } : {} })),
    },
    maxHttpBufferSize: LIMITS.messageBytes,
    connectTimeout: CONNECT_TIMEOUT_MS,
    serveClient: false,
  });
}
