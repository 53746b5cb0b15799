import type { RequestListener } from 'node:http';
import { isIP } from 'node:net';

/**
 * The host names under which the page opens. A page of any other name could let that name point to this
 * machine, and then read the page as its own (DNS rebinding).
 */
export interface HostCheck {
  /** Vite's setting `server.allowedHosts`, which the page's socket for changes of its sources obeys. */
  forVite: true | string[];
  /** @param host the `Host` header. */
  isAllowed(host: string | undefined): boolean;
}

const WEB_ORIGIN = /^https?:\/\/(?<wildcard>\*\.)?(?<host>\[.+\]|[^:]+)(:\d+)?$/;

/**
 * Allows IP addresses, `localhost` and its subdomains, and the hosts of the setting `allowedOrigins`. The
 * port is not compared, since a proxy may leave it out of the `Host` header.
 */
export function createHostCheck(allowedOrigins: readonly string[] = []): HostCheck {
  if (allowedOrigins.includes('*')) return { forVite: true, isAllowed: () => true };
  const names = new Set(['localhost']);
  const parents = ['localhost'];
  for (const origin of allowedOrigins) {
    const { wildcard, host } = WEB_ORIGIN.exec(origin)?.groups ?? {};
    if (host === undefined) continue;
    if (wildcard === undefined) names.add(host);
    else parents.push(host);
  }

  return {
    // Here `.example.com` also allows `example.com`, which `https://*.example.com` does not.
    forVite: [...names, ...parents.map((parent) => `.${parent}`)],
    isAllowed(host) {
      if (host === undefined) return true;
      const name = host.replace(/:\d+$/, '');
      if (isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 || names.has(name)) return true;
      return parents.some(
        (parent) => name.endsWith(`.${parent}`) && name.length > parent.length + 1,
      );
    },
  };
}

export const refuseHost: RequestListener = ({ headers }, response) => {
  const host = JSON.stringify(headers.host ?? '');
  response
    .writeHead(403, { 'content-type': 'text/plain; charset=utf-8' })
    .end(
      `The page does not open at ${host}. To allow it, add its origin to ALLOWED_ORIGINS, such as https://chat.example.\n`,
    );
};
