import { LIMITS } from '@rivulet/protocol';
import type { Link, OpenRequest } from './link.js';

/** The streams that were opened on one connection, and what was asked on it. */
export interface Session {
  /** True if the server is shutting down: new questions are for another one. */
  isClosing: boolean;
  /** The size of the requests that were sent and not answered yet; 0 if there are none. */
  unansweredBytes: number;
  readonly readsNothing: boolean;
  has(link: Link): boolean;
  add(link: Link): void;
  remove(link: Link): void;
  /** @returns the requests that the handshake carries; the server replies to them in this order. */
  carry(links: Iterable<Link>): OpenRequest[];
  readonly awaitsReplies: boolean;
  /** @returns the link that the next of those replies is for. */
  nextCarried(): Link | undefined;
  /** `ref` names the link in short chunks. */
  bind(ref: number, link: Link): void;
  byRef(ref: number): Link | undefined;
}

/**
 * The size of the requests in a handshake. Further ones follow after it: the server waits 10 s for a
 * handshake, in which a line of 1 KB/s carries little more.
 */
const CARRIED_UNITS = 8_192;

export function createSession(): Session {
  const opened = new Set<Link>();
  const carried: Link[] = [];
  const refs = new Map<number, Link>();

  return {
    isClosing: false,
    unansweredBytes: 0,
    get readsNothing() {
      return opened.size === 0;
    },
    has: (link) => opened.has(link),
    add: (link) => void opened.add(link),
    remove(link) {
      opened.delete(link);
      for (const [ref, reader] of refs) if (reader === link) refs.delete(ref);
    },
    carry(links) {
      const requests: OpenRequest[] = [];
      let units = 0;
      for (const link of links) {
        if (requests.length === LIMITS.handshakeRequests) break;
        const request = link.request();
        units += JSON.stringify(request).length;
        if (units > CARRIED_UNITS) break;
        requests.push(request);
        carried.push(link);
        opened.add(link);
      }
      return requests;
    },
    get awaitsReplies() {
      return carried.length > 0;
    },
    nextCarried: () => carried.shift(),
    bind: (ref, link) => void refs.set(ref, link),
    byRef: (ref) => refs.get(ref),
  };
}
