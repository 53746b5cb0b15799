import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Tells requests of the page that this server serves, on this machine, from all others. */
export interface PageCheck {
  /** The secret that the page sends with each request. A page of another origin cannot read it. */
  readonly token: string;
  /** @returns true if the request comes from this machine, without a proxy, and asks by a loopback name. */
  isLocal(request: IncomingMessage): boolean;
  /** @returns true if it also comes from the page itself, and has the token. */
  isOwnPage(request: IncomingMessage, token: string | undefined): boolean;
}

const LOOPBACK_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/;
const PROXY_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'];

export function createPageCheck(): PageCheck {
  const token = randomBytes(24).toString('base64url');

  function isLocal({ headers }: IncomingMessage): boolean {
    if (!LOOPBACK_HOST.test(headers.host ?? '')) return false;
    if (PROXY_HEADERS.some((name) => headers[name] !== undefined)) return false;
    const site = headers['sec-fetch-site'];
    return site === undefined || site === 'same-origin';
  }

  return {
    token,
    isLocal,
    isOwnPage: (request, given) =>
      isLocal(request) &&
      given === token &&
      request.headers.origin === `http://${request.headers.host}`,
  };
}
