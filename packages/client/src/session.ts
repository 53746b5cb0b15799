import { LIMITS } from '@rivulet/protocol';
import type { Link, OpenRequest } from './link.js';

/** What holds for one connection only: the streams that were opened on it. */
export interface Session {
  /** True if the server is shutting down: new questions are for another one. */
  isClosing: boolean;
  readonly readsNothing: boolean;
  has(link: Link): boolean;
  add(link: Link): void;
  remove(link: Link): void;
  /** What the handshake asks for; replies to it come in this order. */
  carry(links: Iterable<Link>): OpenRequest[];
  readonly awaitsReplies: boolean;
  /** Whose the next of those replies is. */
  nextCarried(): Link | undefined;
  /** `ref` names the link in short chunks. */
  bind(ref: number, link: Link): void;
  byRef(ref: number): Link | undefined;
}

/** Of all that a handshake carries; what is more follows when it is through. */
const CARRIED_UNITS = 65_536;

export function createSession(): Session {
  const opened = new Set<Link>();
  const carried: Link[] = [];
  const refs = new Map<number, Link>();

  return {
    isClosing: false,
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
