import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
import proxyAddr from 'proxy-addr';
import type { Logger } from '../observe/logger.js';

const IPV6_NETWORK_PARTS = 4;

/**
 * Creates a function that reads the client's address for limits: an IPv4 address, or the first 64 bits of an
 * IPv6 address, which belong to one customer. `X-Forwarded-For` is used only from a trusted proxy (addresses,
 * networks such as `10.0.0.0/8`, or `loopback`), because any client can send it. The first header from
 * another peer is logged, because the peer may be the operator's proxy.
 */
export function addressReader(
  trustedProxies: readonly string[],
  logger: Logger,
): (request: IncomingMessage) => string {
  const isTrusted = proxyAddr.compile([...trustedProxies]);
  let hasWarned = false;

  function warnOnce(peer: string): void {
    if (hasWarned) return;
    hasWarned = true;
    logger.warn({
      event: 'PROXY_NOT_TRUSTED',
      peer,
      hint: 'if this is your proxy, add it to TRUSTED_PROXIES: otherwise all visitors behind it share one address and its limits',
    });
  }

  return (request) => {
    const { headers, socket } = request;
    const isForwarded = (headers['x-forwarded-for'] ?? headers.forwarded) !== undefined;
    const peer = socket.remoteAddress;
    if (isForwarded && peer !== undefined && !isTrusted(peer, 0)) warnOnce(peer);
    return networkOf(proxyAddr(request, isTrusted));
  };
}

/** Some proxies also write the port. */
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
