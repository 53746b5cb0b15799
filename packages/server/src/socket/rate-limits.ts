import { StreamError } from '@rivulet/protocol';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { SharedCounts } from '../deliver/stream-directory.js';

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

/** @param counts of all processes; each process counts for itself unless given, and while they cannot be had. */
export function createRateLimits(
  { requests, windowSeconds }: RateLimit,
  counts?: SharedCounts,
): RateLimits {
  const start = bucket('start', requests, windowSeconds, counts);
  const resume = bucket('resume', requests * ATTACH_FACTOR, windowSeconds, counts);
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

function bucket(
  name: string,
  points: number,
  duration: number,
  counts: SharedCounts | undefined,
): Bucket {
  const byPrincipal = new RateLimiterMemory({ points, duration });
  const byAddress = new RateLimiterMemory({ points: points * ADDRESS_FACTOR, duration });
  const windowMs = duration * 1_000;
  const nameOf = (principal: string): string => `${name} by ${principal}`;

  async function spendHere({ principal, address }: Requester): Promise<void> {
    try {
      await byPrincipal.consume(principal);
      await byAddress.consume(address);
    } catch (refused) {
      throw refused instanceof RateLimiterRes ? rateLimited(refused.msBeforeNext) : refused;
    }
  }

  return {
    async spend(requester) {
      const { principal, address } = requester;
      const names = [nameOf(principal), `${name} from ${address}`];
      const spent = await counts?.spend(names.map((each) => ({ name: each, windowMs })));
      if (spent === undefined) return spendHere(requester);
      const limits = [points, points * ADDRESS_FACTOR];
      const past = spent.find(({ count }, i) => count > limits[i]!);
      if (past !== undefined) throw rateLimited(past.msLeft);
    },
    async forget(principal) {
      await counts?.forget([nameOf(principal)]);
      await byPrincipal.delete(principal);
    },
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
