import { createHash, randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { StreamError } from '@rivulet/protocol';
import { userId } from '../request.js';

/** What a connection has to say of who it is. */
export interface Credentials {
  /** As the client's `auth()` gave it. */
  token: string | undefined;
  /** Of the HTTP request that opened the connection, such as its cookies. */
  headers: IncomingHttpHeaders;
  /** Aborted when the server waits no longer. */
  signal: AbortSignal;
}

export interface Identity {
  /** The user's id: the same for all their devices, and nobody else's. */
  principal: string;
  /** When the connection has to be made anew, with a new token. */
  expiresAt?: Date | undefined;
}

type Verdict = Identity | undefined | null;

/**
 * Says who a connection is; undefined or null refuses it as `unauthorized`. A throw is a fault of the
 * check itself: it is logged, and the client tries again.
 */
export type Authenticate = (credentials: Credentials) => Verdict | Promise<Verdict>;

/** Whose streams a connection may see. */
export interface Principal {
  id: string;
  /** Whether a later connection can be known as the same. */
  returns: boolean;
  expiresAt: Date | undefined;
}

/**
 * A browser that sends its own unguessable `browser_id` is found again when it reconnects; any other
 * connection is a principal of its own. The id is a secret of that browser, so it is hashed before it
 * can reach a log.
 */
export function anonymous(browserId: string | undefined): Principal {
  if (browserId === undefined) {
    return { id: `socket:${randomUUID()}`, returns: false, expiresAt: undefined };
  }
  const hash = createHash('sha256').update(browserId).digest('base64url');
  return { id: `browser:${hash}`, returns: true, expiresAt: undefined };
}

const AUTHENTICATE_MS = 8_000;

/** Throws `unauthorized`, or whatever the check throws. */
export async function authenticated(
  authenticate: Authenticate,
  credentials: Omit<Credentials, 'signal'>,
): Promise<Principal> {
  const signal = AbortSignal.timeout(AUTHENTICATE_MS);
  const tooLate = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
  // Nobody awaits it once the check has thrown.
  tooLate.catch(() => {});
  const identity = await Promise.race([authenticate({ ...credentials, signal }), tooLate]);
  if (identity === undefined || identity === null)
    throw unauthorized('the token is missing or wrong');
  const { principal, expiresAt } = identity;
  // All whose token lacks an id would be one.
  if (typeof principal !== 'string' || principal === '') {
    throw new TypeError('authenticate gave no principal');
  }
  if (expiresAt === undefined) return { id: userId(principal), returns: true, expiresAt };
  if (!(expiresAt instanceof Date) || Number.isNaN(expiresAt.getTime())) {
    throw new TypeError('authenticate gave an expiresAt that is no Date');
  }
  if (expiresAt.getTime() <= Date.now()) {
    throw unauthorized('the token has expired');
  }
  return { id: userId(principal), returns: true, expiresAt };
}

function unauthorized(reason: string): StreamError {
  return new StreamError('unauthorized', `unable to connect: ${reason}; log in again`);
}
