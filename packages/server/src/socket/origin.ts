import type { IncomingMessage } from 'node:http';
import type { Logger } from '../observe/logger.js';

/**
 * Whether a page may connect. Browsers do not apply CORS to websockets, so this is what keeps another
 * site's page from using a visitor's address. A request without an Origin is no browser's.
 */
export type OriginCheck = (request: Pick<IncomingMessage, 'headers'>) => boolean;

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);
// Anyone may send anything.
const MAX_LOGGED_UNITS = 200;

/**
 * Allows the origins given (`https://chat.example`, or `*` for all); with none given, the pages of
 * this machine.
 */
export function allowOrigins(allowed: readonly string[] | undefined): OriginCheck {
  return ({ headers: { origin } }) => {
    if (origin === undefined || allowed?.includes('*')) return true;
    if (allowed !== undefined) return allowed.includes(origin);
    return URL.canParse(origin) && LOOPBACK.has(new URL(origin).hostname);
  };
}

export function logOriginRefused({ headers }: IncomingMessage, logger: Logger): void {
  const origin = headers.origin?.slice(0, MAX_LOGGED_UNITS);
  logger.warn({ event: 'ORIGIN_REFUSED', origin, hint: 'name it in ALLOWED_ORIGINS' });
}
