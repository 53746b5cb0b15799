import type { Server as HttpServer } from 'node:http';
import { LIMITS } from '@rivulet/protocol';
import { Server } from 'socket.io';
import type { Logger } from '../observe/logger.js';
import type { Connection } from './connection.js';
import type { Ledger } from './ledger.js';
import { logOriginRefused, type OriginCheck } from './origin.js';

export type { Server as SocketServer } from 'socket.io';

const CONNECT_TIMEOUT_MS = 10_000;

/** A Socket.IO server that takes no more than Rivulet's messages need, from pages that may connect. */
export function createSocketServer(
  http: HttpServer,
  mayConnect: OriginCheck,
  ledger: Ledger,
  logger: Logger,
): Server {
  const io = new Server(http, {
    allowRequest(request, decide) {
      if (!mayConnect(request)) {
        logOriginRefused(request, logger);
        decide('origin not allowed', false);
      } else if (!ledger.reserve(request)) {
        logger.warn({ event: 'CONNECTION_REFUSED', reason: 'handshakes' });
        decide('too many connections', false);
      } else {
        decide(null, true);
      }
    },
    cors: {
      origin: (origin, decide) => decide(null, mayConnect({ headers: origin ? { origin } : {} })),
    },
    maxHttpBufferSize: LIMITS.messageBytes,
    connectTimeout: CONNECT_TIMEOUT_MS,
    serveClient: false,
  });
  io.engine.on('connection', (connection: Connection) => ledger.accountOf(connection));
  // Who leaves may not stay connected, where nobody counts it.
  io.on('connection', (socket) =>
    socket.on('disconnect', () => ledger.accountOf(socket.conn).close()),
  );
  return io;
}
