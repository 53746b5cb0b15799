import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http';
import { LIMITS } from '@rivulet/protocol';
import { Server } from 'socket.io';
import type { Connection } from './connection.js';
import { wireError } from './encode.js';
import type { ConnectionLimiter } from './connection-limiter.js';
import { type OriginCheck, OriginError, type OriginRefusal } from './origin.js';
import type { Refusals } from './refusals.js';

export type { Server as SocketServer } from 'socket.io';

const CONNECT_TIMEOUT_MS = 10_000;

/** A connection of a refused origin is closed after this time. */
const REFUSED_CONNECT_TIMEOUT_MS = 5_000;
/** The limit of concurrent connections of refused origins. Further handshakes fail. */
const MAX_REFUSED = 100;

type Query = Readonly<Record<string, string>>;
type Next = (error?: Error) => void;

/** Creates a Socket.IO server with the limits of Rivulet's messages, for pages of allowed origins. */
export function createSocketServer(
  http: HttpServer,
  checkOrigin: OriginCheck,
  limiter: ConnectionLimiter,
  refusals: Refusals,
  path: string,
): Server {
  /** The connections without a namespace, by their session id. */
  const pending = new Map<string, Connection>();
  const refused = new Map<Connection, OriginError>();

  const io = new Server(http, {
    path,
    allowRequest(request, decide) {
      const isRefused = refusalOf(request) !== undefined;
      const hasRoom = !isRefused || refused.size < MAX_REFUSED;
      if (hasRoom && limiter.reserve(request)) return decide(null, true);
      refusals.countHandshake(isRefused ? 'origins' : 'handshakes');
      decide('too many connections', false);
    },
    // Allows any origin, so that a page of a refused origin can read the reason. Browsers send no cookies
    // without `credentials`.
    cors: { origin: true },
    maxHttpBufferSize: LIMITS.messageBytes,
    connectTimeout: CONNECT_TIMEOUT_MS,
    serveClient: false,
  });

  function refusalOf(request: IncomingMessage): OriginRefusal | undefined {
    return checkOrigin({ headers: request.headers, query: queryOf(request) });
  }

  function refuse(conn: Connection, refusal: OriginRefusal): void {
    if (refused.has(conn)) return;
    const error = new OriginError(refusal);
    refused.set(conn, error);
    conn.once('close', () => refused.delete(conn));
    const account = limiter.accountOf(conn);
    refusals.count(error, account.connectionId);
    setTimeout(() => account.close(), REFUSED_CONNECT_TIMEOUT_MS).unref();
  }

  // Engine.IO calls `allowRequest` only for the handshake, and this middleware for every request. A browser
  // omits the `Origin` of GET requests to the page's own origin, so a later request may be the first to have
  // one.
  io.engine.use((request: IncomingMessage, _: ServerResponse, next: Next) => {
    const refusal = refusalOf(request);
    if (refusal === undefined) return next();
    const { sid } = queryOf(request);
    const conn = sid === undefined ? undefined : pending.get(sid);
    if (refusal.reason === 'not_allowed' && (sid === undefined || conn !== undefined)) {
      if (conn !== undefined) refuse(conn, refusal);
      return next();
    }
    const error = new OriginError(refusal);
    refusals.count(error, undefined);
    next(error);
  });

  io.engine.on('connection', (conn: Connection) => {
    limiter.accountOf(conn);
    const sid = sessionIdOf(conn);
    pending.set(sid, conn);
    conn.once('close', () => pending.delete(sid));
    const refusal = refusalOf(conn.request);
    if (refusal !== undefined) refuse(conn, refusal);
  });

  io.use(({ conn }, next) => {
    const error = refused.get(conn);
    if (error === undefined) return next();
    const data = wireError(error);
    limiter.accountOf(conn).close();
    next(Object.assign(new Error(data.message), { data }));
  });

  io.on('connection', (socket) => {
    pending.delete(sessionIdOf(socket.conn));
    // Without this, a client that leaves the namespace would keep a connection that is not counted.
    socket.on('disconnect', () => limiter.accountOf(socket.conn).close());
  });
  return io;
}

/** Engine.IO has parsed the query of each request. */
function queryOf(request: IncomingMessage): Query {
  const { _query: query } = request as IncomingMessage & { _query: Query };
  return query;
}

/** @returns Engine.IO's session id, which its types hide. */
function sessionIdOf(conn: unknown): string {
  return (conn as { id: string }).id;
}
