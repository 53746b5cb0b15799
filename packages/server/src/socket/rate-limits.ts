import { StreamError } from '@rivulet/protocol';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';

/** How often a principal may ask. */
export interface RateLimit {
  requests: number;
  windowSeconds: number;
}

/** Who asks: the principal, and the address it connects from. */
export interface Requester {
  principal: string;
  address: string;
}

/** Throws `rate_limited`, with when to try again. */
export type SpendOne = (requester: Requester) => Promise<void>;

export interface RateLimits {
  /** A new stream. */
  start: SpendOne;
  /** Reading a stream that exists. It comes in bursts: after each cut, once for each stream. */
  resume: SpendOne;
  /** Forgets what a principal has spent. What its address has spent still counts. */
  forget(principal: string): Promise<void>;
}

/** Many people may share an address, and one can make up as many principals as they like. */
const ADDRESS_FACTOR = 10;
const ATTACH_FACTOR = 10;

export function createRateLimits({ requests, windowSeconds }: RateLimit): RateLimits {
  const start = bucket(requests, windowSeconds);
  const resume = bucket(requests * ATTACH_FACTOR, windowSeconds);
  return {
    start: start.spend,
    resume: resume.spend,
    async forget(principal) {
      await start.forget(principal);
      await resume.forget(principal);
    },
  };
}

interface Bucket {
  spend: SpendOne;
  forget(principal: string): Promise<unknown>;
}

function bucket(points: number, duration: number): Bucket {
  const byPrincipal = new RateLimiterMemory({ points, duration });
  const byAddress = new RateLimiterMemory({ points: points * ADDRESS_FACTOR, duration });
  return {
    async spend({ principal, address }) {
      try {
        await byPrincipal.consume(principal);
        await byAddress.consume(address);
      } catch (refused) {
        throw refused instanceof RateLimiterRes ? rateLimited(refused.msBeforeNext) : refused;
      }
    },
    forget: (principal) => byPrincipal.delete(principal),
  };
}

function rateLimited(retryAfterMs: number): StreamError {
  const seconds = Math.ceil(retryAfterMs / 1000);
  return new StreamError(
    'rate_limited',
    `unable to carry out the request: too many came in a short time; try again in ${seconds} s`,
    { retryAfterMs: Math.ceil(retryAfterMs) },
  );
}
