import { createHash, randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { StreamError } from '@rivulet/protocol';
import { readableError } from '../readable-error.js';
import { userId } from '../request.js';

/** The credentials of a connection. */
export interface Credentials {
  /** The token of the client's `auth()`. */
  token: string | undefined;
  /** The headers of the HTTP request that opened the connection, such as its cookies. */
  headers: IncomingHttpHeaders;
  /** Aborts when the server stops waiting for the result. */
  signal: AbortSignal;
}

export interface Identity {
  /** The user's id: equal for all devices of the user, and different from all other users. */
  principal: string;
  /** The time at which the server closes the connection, so that the client reconnects with a new token. */
  expiresAt?: Date | undefined;
}

type Verdict = Identity | undefined | null;

/**
 * Identifies the user of a connection; undefined or null refuses it as `unauthorized`. An error counts as a
 * failure of the check itself: it is logged, and the client reconnects.
 */
export type Authenticate = (credentials: Credentials) => Verdict | Promise<Verdict>;

/** The owner of the streams that a connection may read. */
export interface Principal {
  id: string;
  /** True if a later connection can have the same principal. */
  canReconnect: boolean;
  expiresAt: Date | undefined;
}

/**
 * A browser that sends its own unguessable `browser_id` has the same principal after a reconnect; any other
 * connection has a principal of its own. The id is a secret of the browser, so it is hashed before it can
 * appear in a log.
 */
export function anonymous(browserId: string | undefined): Principal {
  if (browserId === undefined) {
    return { id: `socket:${randomUUID()}`, canReconnect: false, expiresAt: undefined };
  }
  const hash = createHash('sha256').update(browserId).digest('base64url');
  return { id: `browser:${hash}`, canReconnect: true, expiresAt: undefined };
}

const AUTHENTICATE_MS = 8_000;

/** Runs the check. @throws {StreamError} unauthorized. @throws the error of the check. */
export async function authenticated(
  authenticate: Authenticate,
  credentials: Omit<Credentials, 'signal'>,
): Promise<Principal> {
  const signal = AbortSignal.timeout(AUTHENTICATE_MS);
  const tooLate = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
  // This promise has no other handler after the check has thrown.
  tooLate.catch(() => {});
  const check = async () => authenticate({ ...credentials, signal });
  const identity = await Promise.race([check(), tooLate]).catch((thrown: unknown) => {
    throw readableError(thrown);
  });
  if (identity === undefined || identity === null)
    throw unauthorized('the token is missing or wrong');
  const { principal, expiresAt } = identity;
  // Without this check, all users whose token has no id would share a principal.
  if (typeof principal !== 'string' || principal === '') {
    throw new TypeError('authenticate gave no principal');
  }
  if (expiresAt === undefined) return { id: userId(principal), canReconnect: true, expiresAt };
  if (!(expiresAt instanceof Date) || Number.isNaN(expiresAt.getTime())) {
    throw new TypeError('authenticate gave an expiresAt that is no Date');
  }
  if (expiresAt.getTime() <= Date.now()) {
    throw unauthorized('the token has expired');
  }
  return { id: userId(principal), canReconnect: true, expiresAt };
}

function unauthorized(reason: string): StreamError {
  return new StreamError('unauthorized', `unable to connect: ${reason}; log in again`);
}
