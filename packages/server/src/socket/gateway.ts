import { EVENT, PROTOCOL_VERSION } from '@rivulet/protocol';
import type { Namespace, Socket } from 'socket.io';
import { DrainingError, type StreamDirectory } from '../deliver/stream-directory.js';
import type { Logger } from '../observe/logger.js';
import { releaseHandshake } from './connection.js';
import { disconnectWhenExpired } from './expiry.js';
import type { Admission, Guard } from './guard.js';
import type { ConnectionLimiter } from './connection-limiter.js';
import type { RateLimits } from './rate-limits.js';
import type { Refusals } from './refusals.js';
import { serveSocket } from './serve-socket.js';

export interface GatewayOptions {
  streams: StreamDirectory;
  guard: Guard;
  limiter: ConnectionLimiter;
  limits: RateLimits;
  refusals: Refusals;
  logger: Logger;
}

export interface Gateway {
  /**
   * Announces that the server ends within `drainMs` milliseconds. Afterwards, only principals with a stream
   * in this process may connect.
   */
  announceClosing(drainMs: number): void;
  /** Closes the connections of a principal, and those whose check of the credentials has begun already. */
  disconnect(principal: string): void;
}

/** A check of credentials has ended after this time, together with its wait for a turn. */
const LONGEST_CHECK_MS = 60_000;

/** Serves the streams on a namespace of a Socket.IO server. */
export function serveStreams(namespace: Namespace, options: GatewayOptions): Gateway {
  const { streams, guard, limiter, refusals, logger } = options;
  const admissions = new WeakMap<Socket, Admission & { since: number }>();
  /** The `performance.now()` of the newest `disconnect` of a principal, as long as an older check may be running. */
  const disconnectedAt = new Map<string, number>();
  let closesAt: number | undefined;

  async function admit(socket: Socket): Promise<void> {
    const since = performance.now();
    const admission = await guard.admit(socket);
    const isNew = admission.newStreams || !streams.hasAny(admission.principal);
    if (closesAt !== undefined && isNew) {
      admission.account.leave();
      // A load balancer may route the next connection to another server at once.
      const retry = admission.newStreams ? {} : { retryAfterMs: 1_000 };
      throw new DrainingError(
        'unable to connect: the server is shutting down; try again soon',
        retry,
      );
    }
    admissions.set(socket, { ...admission, since });
  }

  async function refusal(socket: Socket): Promise<Error | undefined> {
    try {
      await admit(socket);
      return undefined;
    } catch (cause) {
      const account = limiter.accountOf(socket.conn);
      const data = refusals.refuse(cause, account.connectionId, account.address.name);
      if (limiter.ownsConnections) account.close();
      return Object.assign(new Error(data.message), { data });
    }
  }

  namespace.use((socket, admitOrRefuse) => void refusal(socket).then(admitOrRefuse));

  function sendClosing(target: Pick<Socket, 'emit'>, at: number): void {
    const drain_ms = Math.max(0, Math.round(at - performance.now()));
    target.emit(EVENT.closing, { type: EVENT.closing, drain_ms });
  }

  namespace.on('connection', (socket) => {
    const admission = admissions.get(socket);
    if (admission === undefined) return void socket.disconnect();
    if (admission.protocol > PROTOCOL_VERSION.newest) {
      socket.emit(EVENT.hello, { type: EVENT.hello, protocol: PROTOCOL_VERSION.newest });
    }
    const { connectionId } = admission.account;
    logger.debug({ event: 'CONNECTION_OPENED', connectionId });
    socket.once('disconnect', (reason) => {
      logger.debug({ event: 'CONNECTION_CLOSED', connectionId, reason });
    });
    if ((disconnectedAt.get(admission.principal) ?? -Infinity) >= admission.since) {
      admission.account.leave();
      return void socket.disconnect();
    }
    serveSocket(socket, admission, options);
    if (limiter.ownsConnections) releaseHandshake(socket);
    disconnectWhenExpired(socket, admission.expiresAt);
    if (closesAt !== undefined) sendClosing(socket, closesAt);
  });

  return {
    announceClosing(drainMs) {
      closesAt = performance.now() + drainMs;
      for (const socket of namespace.sockets.values()) sendClosing(socket, closesAt);
    },
    disconnect(principal) {
      const at = performance.now();
      disconnectedAt.set(principal, at);
      setTimeout(() => {
        if (disconnectedAt.get(principal) === at) disconnectedAt.delete(principal);
      }, LONGEST_CHECK_MS).unref();
      for (const socket of namespace.sockets.values()) {
        if (admissions.get(socket)?.principal === principal) socket.disconnect();
      }
    },
  };
}
