import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
import proxyAddr from 'proxy-addr';

const IPV6_NETWORK_PARTS = 4;

/**
 * Whom a request comes from, as far as limits go: an IPv4 address, or the 64 bits of an IPv6 one that
 * belong to one customer. `X-Forwarded-For` counts only from a trusted proxy (addresses, networks such
 * as `10.0.0.0/8`, or `loopback`): anyone can write that header.
 */
export function addressReader(
  trustedProxies: readonly string[],
): (request: IncomingMessage) => string {
  const isTrusted = proxyAddr.compile([...trustedProxies]);
  return (request) => networkOf(proxyAddr(request, isTrusted));
}

/** Some proxies write the port, too. */
const PORT = /^\[?([^\]]*?)\]?:\d+$/;

function networkOf(raw: string | undefined): string {
  const address = raw !== undefined && !ipaddr.isValid(raw) ? PORT.exec(raw)?.[1] : raw;
  if (address === undefined || !ipaddr.isValid(address)) return 'unknown';
  const parsed = ipaddr.process(address);
  if (parsed instanceof ipaddr.IPv4) return parsed.toString();
  return `${parsed.parts
    .slice(0, IPV6_NETWORK_PARTS)
    .map((part) => part.toString(16))
    .join(':')}::/64`;
}
