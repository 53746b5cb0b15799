import type { IncomingMessage } from 'node:http';
import { PROTOCOL_VERSION, StreamError } from '@rivulet/protocol';
import { handshakeSchema } from '@rivulet/protocol/schema';
import type { Socket } from 'socket.io';
import type { SocketAccount } from './connection-account.js';
import type { ConnectionLimiter } from './connection-limiter.js';
import { type OriginCheck, OriginError } from './origin.js';
import { parse } from './parse.js';
import { anonymous, type Authenticate, authenticated, type Principal } from './principal.js';
import type { Requester } from './rate-limits.js';
import type { Refusals } from './refusals.js';

/** A connection that may enter the namespace. */
export interface Admission extends Requester {
  readonly account: SocketAccount;
  /** True if a later connection can have the same principal. */
  canReconnect: boolean;
  expiresAt: Date | undefined;
  /** The requests in the handshake, not parsed yet. Empty once they are being carried out. */
  requests: unknown[];
  /** The newest version of the protocol that the client supports. */
  protocol: number;
  /** True if the connection is only for new streams. */
  newStreams: boolean;
}

export interface GuardOptions {
  checkOrigin: OriginCheck;
  authenticate: Authenticate | undefined;
  limiter: ConnectionLimiter;
  refusals: Refusals;
}

/** Decides which connections may enter the namespace. */
export interface Guard {
  /**
   * Counts the connection until its account leaves. @throws {StreamError} the reason why it may not enter.
   */
  admit(socket: Socket): Promise<Admission>;
}

const BUSY_RETRY_MS = 2_000;

export function createGuard(options: GuardOptions): Guard {
  const { checkOrigin, authenticate, limiter, refusals } = options;

  async function principalOf(
    account: SocketAccount,
    token: string | undefined,
    browserId: string | undefined,
    headers: IncomingMessage['headers'],
  ): Promise<Principal> {
    if (authenticate === undefined) return anonymous(browserId);
    try {
      return await account.authenticate(() => authenticated(authenticate, { token, headers }));
    } catch (cause) {
      if (cause instanceof StreamError) throw cause;
      const message = 'unable to connect: the server could not check the token; try again soon';
      const error = new StreamError('internal', message, { retryAfterMs: BUSY_RETRY_MS, cause });
      refusals.countFailedCheck(error, cause, account.connectionId);
      throw error;
    }
  }

  /** Socket.IO would keep the whole message, up to 1 MiB, until the connection closes. */
  function forgetMessage(handshake: Socket['handshake']): void {
    if (limiter.ownsConnections) handshake.auth = {};
    else delete handshake.auth['requests'];
  }

  async function check(socket: Socket, account: SocketAccount): Promise<Admission> {
    const { handshake, request } = socket;
    const refusal = checkOrigin(handshake);
    if (refusal !== undefined) throw new OriginError(refusal);
    const message = parse(handshakeSchema, handshake.auth);
    const { protocol = 1, browser_id, token, new_streams: newStreams = false } = message;
    if (protocol < PROTOCOL_VERSION.oldest) throw unsupportedVersion(protocol);
    const { requests = [] } = message;
    forgetMessage(handshake);
    const identity = await principalOf(account, token, browser_id, request.headers);
    const { id: principal, canReconnect, expiresAt } = identity;
    account.admit(principal);
    const { address } = account;
    return {
      account,
      principal,
      address,
      canReconnect,
      expiresAt,
      requests,
      protocol,
      newStreams,
    };
  }

  return {
    async admit(socket) {
      const account = limiter.accountOf(socket.conn).enter(socket);
      try {
        return await check(socket, account);
      } catch (cause) {
        account.leave();
        throw cause;
      }
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
