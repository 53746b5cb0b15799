import type { IncomingHttpHeaders } from 'node:http';
import { StreamError } from '@rivulet/protocol';

/** A request of an Engine.IO connection, or the handshake of a Socket.IO one. */
export interface PageRequest {
  headers: IncomingHttpHeaders;
  query: Readonly<Record<string, unknown>>;
}

/**
 * The reason for a refusal. `not_allowed`: the `Origin` is not allowed. `cross_site`: a browser sent the
 * request for a page of another origin, without an `Origin`. `jsonp`: the request asks for a script.
 */
export interface OriginRefusal {
  reason: 'not_allowed' | 'cross_site' | 'jsonp';
  /** Truncated, in printable ASCII; undefined if the request has none. */
  origin: string | undefined;
}

/**
 * Checks the origin of a request. Browsers do not apply CORS to WebSockets and scripts, so without this check
 * the pages of other sites could send requests with a visitor's address and cookies.
 *
 * @returns undefined if the request is allowed.
 */
export type OriginCheck = (request: PageRequest) => OriginRefusal | undefined;

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);
const WILDCARD = '://*.';
const MAX_SHOWN_UNITS = 200;

/**
 * Creates a check that allows the origins in `allowed`, in the normal form of the setting `allowedOrigins`.
 * If it is undefined, the http and https pages of this machine are allowed. Requests without an `Origin` are
 * allowed unless `Sec-Fetch-Site` names another origin: servers and command-line tools send no `Origin`, nor
 * does a browser with a GET request of the server's own page.
 */
export function createOriginCheck(allowed: readonly string[] | undefined): OriginCheck {
  const isAllowed = allowed === undefined ? isLoopback : matcherOf(allowed);
  return ({ headers, query }) => {
    const { origin } = headers;
    const shown = origin === undefined ? undefined : printable(origin);
    if (query['j'] !== undefined) return { reason: 'jsonp', origin: shown };
    if (origin !== undefined) {
      return isAllowed(origin.toLowerCase()) ? undefined : { reason: 'not_allowed', origin: shown };
    }
    const site = headers['sec-fetch-site'];
    // A `same-site` page has another subdomain or port, and may belong to someone else.
    const isElsewhere = site === 'cross-site' || site === 'same-site';
    return isElsewhere ? { reason: 'cross_site', origin: undefined } : undefined;
  };
}

type OriginMatcher = (origin: string) => boolean;

function isLoopback(origin: string): boolean {
  return /^https?:/.test(origin) && URL.canParse(origin) && LOOPBACK.has(new URL(origin).hostname);
}

function matcherOf(allowed: readonly string[]): OriginMatcher {
  if (allowed.includes('*')) return () => true;
  const exact = new Set(allowed);
  const wildcards = allowed.filter((origin) => origin.includes(WILDCARD)).map(wildcardPattern);
  return (origin) => exact.has(origin) || wildcards.some((pattern) => pattern.test(origin));
}

/** `https://*.example.com` matches every subdomain at any depth, and not `https://example.com`. */
function wildcardPattern(allowed: string): RegExp {
  const [scheme = '', parent = ''] = allowed.split(WILDCARD);
  const escaped = parent.replaceAll('.', String.raw`\.`);
  return new RegExp(`^${scheme}://(?:[a-z0-9_-]+\\.)+${escaped}$`);
}

function printable(text: string): string {
  return text
    .slice(0, MAX_SHOWN_UNITS)
    .replace(/[^ -~]/g, (unit) => `\\x${unit.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .slice(0, MAX_SHOWN_UNITS);
}

/** The origin of a request is not allowed. */
export class OriginError extends StreamError {
  readonly refusal: OriginRefusal;

  constructor(refusal: OriginRefusal) {
    super('unauthorized', `unable to connect: ${explain(refusal)}`);
    this.refusal = refusal;
  }
}

function explain({ reason, origin }: OriginRefusal): string {
  switch (reason) {
    case 'jsonp':
      return 'JSONP polling is not supported';
    case 'cross_site':
      return 'a page of another origin sent the request without an Origin header';
    case 'not_allowed':
      return `the origin ${origin} is not allowed; the operator of the server can add it to ALLOWED_ORIGINS (allowedOrigins)`;
  }
}
