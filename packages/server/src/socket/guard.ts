import type { IncomingMessage } from 'node:http';
import { StreamError } from '@rivulet/protocol';
import { handshakeSchema } from '@rivulet/protocol/schema';
import type { Socket } from 'socket.io';
import type { Logger } from '../observe/logger.js';
import { logOriginRefused, type OriginCheck } from './origin.js';
import { parse } from './parse.js';
import { anonymous, type Authenticate, authenticated, type Principal } from './principal.js';
import type { Requester } from './rate-limits.js';

export interface ConnectionLimits {
  /** Open connections of all principals. */
  maxConnections: number;
  /** Open connections of one principal, such as the tabs and devices of one user. */
  maxConnectionsPerPrincipal: number;
}

/** A connection that was let in. */
export interface Admission extends Requester {
  /** Whether a later connection can be known as the same principal. */
  returns: boolean;
  expiresAt: Date | undefined;
  /** What the handshake asks for, as it came. */
  requests: readonly unknown[];
}

export interface GuardOptions {
  mayConnect: OriginCheck;
  authenticate: Authenticate | undefined;
  addressOf: (request: IncomingMessage) => string;
  limits: ConnectionLimits;
}

/** Who may connect. */
export interface Guard {
  /** Throws a `StreamError` that says why not. */
  admit(socket: Socket): Promise<Admission>;
  /** Counts the connection until it ends. */
  seat(socket: Socket, admission: Admission): void;
}

const BUSY_RETRY_MS = 2_000;

export function createGuard(options: GuardOptions, logger: Logger): Guard {
  const { mayConnect, authenticate, addressOf, limits } = options;
  const socketsOf = new Map<string, number>();
  let sockets = 0;

  async function principalOf(
    token: string | undefined,
    browserId: string | undefined,
    headers: IncomingMessage['headers'],
  ): Promise<Principal> {
    if (authenticate === undefined) return anonymous(browserId);
    try {
      return await authenticated(authenticate, { token, headers });
    } catch (cause) {
      if (cause instanceof StreamError) throw cause;
      logger.error({ event: 'AUTHENTICATE_FAILED', err: cause });
      throw new StreamError('internal', 'unable to connect: the server could not check the token', {
        retryAfterMs: BUSY_RETRY_MS,
        cause,
      });
    }
  }

  function checkRoom(principal: string): void {
    if (sockets >= limits.maxConnections) throw overloaded('the server has all it allows itself');
    if ((socketsOf.get(principal) ?? 0) >= limits.maxConnectionsPerPrincipal) {
      throw overloaded('you have too many; close some tabs');
    }
  }

  return {
    async admit({ handshake, request }) {
      if (!mayConnect(request)) {
        logOriginRefused(request, logger);
        throw new StreamError('unauthorized', 'unable to connect: this page may not');
      }
      const { browser_id, token, requests = [] } = parse(handshakeSchema, handshake.auth);
      const { id, returns, expiresAt } = await principalOf(token, browser_id, request.headers);
      checkRoom(id);
      return { principal: id, address: addressOf(request), returns, expiresAt, requests };
    },
    seat(socket, { principal }) {
      sockets += 1;
      socketsOf.set(principal, (socketsOf.get(principal) ?? 0) + 1);
      socket.once('disconnect', () => {
        sockets -= 1;
        const left = (socketsOf.get(principal) ?? 1) - 1;
        if (left === 0) socketsOf.delete(principal);
        else socketsOf.set(principal, left);
      });
    },
  };
}

function overloaded(reason: string): StreamError {
  return new StreamError(
    'overloaded',
    `unable to connect: there are too many connections; ${reason}`,
    {
      retryAfterMs: BUSY_RETRY_MS,
    },
  );
}
