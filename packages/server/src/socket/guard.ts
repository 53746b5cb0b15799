import type { IncomingMessage } from 'node:http';
import { PROTOCOL_VERSION, StreamError } from '@rivulet/protocol';
import { handshakeSchema } from '@rivulet/protocol/schema';
import type { Socket } from 'socket.io';
import type { Logger } from '../observe/logger.js';
import { logOriginRefused, type OriginCheck, originError } from './origin.js';
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
  /** The handshake's requests, not parsed yet. */
  requests: readonly unknown[];
  /** The newest version of the protocol that the client speaks. */
  protocol: number;
  /** True if the connection is for new questions only. */
  newStreams: boolean;
}

export interface GuardOptions {
  checkOrigin: OriginCheck;
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
  const { checkOrigin, authenticate, addressOf, limits } = options;
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
      const refusal = checkOrigin(handshake);
      if (refusal !== undefined) {
        logOriginRefused(refusal, logger);
        throw originError(refusal);
      }
      const message = parse(handshakeSchema, handshake.auth);
      const { protocol = 1, browser_id, token, new_streams: newStreams = false } = message;
      if (protocol < PROTOCOL_VERSION.oldest) throw unsupportedVersion(protocol);
      const { requests = [] } = message;
      const { id, returns, expiresAt } = await principalOf(token, browser_id, request.headers);
      checkRoom(id);
      const address = addressOf(request);
      return { principal: id, address, returns, expiresAt, requests, protocol, newStreams };
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

function unsupportedVersion(protocol: number): StreamError {
  const { oldest, newest } = PROTOCOL_VERSION;
  return new StreamError(
    'unsupported_version',
    `unable to connect: this server speaks versions ${oldest} to ${newest} of the protocol, ` +
      `not ${protocol}; reload the page to get a newer client`,
  );
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
