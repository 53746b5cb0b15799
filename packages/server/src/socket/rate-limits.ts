import { StreamError } from '@rivulet/protocol';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { SharedCounts } from '../deliver/stream-directory.js';

/** The limit of requests of one principal. */
export interface RateLimit {
  requests: number;
  windowSeconds: number;
}

/** The principal of a request, and the address of its connection. */
export interface Requester {
  principal: string;
  address: string;
}

/** Counts one request. @throws {StreamError} rate_limited, with the time of the next allowed request. */
export type CountRequest = (requester: Requester) => Promise<void>;

export interface RateLimits {
  /** Counts a new stream. */
  start: CountRequest;
  /** Counts a resumed stream. A client resumes all its streams at once after a disconnect. */
  resume: CountRequest;
  /** Resets the counts of a principal. The counts of its address stay. */
  forget(principal: string): Promise<void>;
}

/** An address may have many users, and one user can create any number of principals. */
const ADDRESS_FACTOR = 10;
const RESUME_FACTOR = 10;

/**
 * @param counts the counters of all processes. Unless given, and while they are unavailable, each process
 * counts separately.
 */
export function createRateLimits(
  { requests, windowSeconds }: RateLimit,
  counts?: SharedCounts,
): RateLimits {
  const start = bucket('start', requests, windowSeconds, counts);
  const resume = bucket('resume', requests * RESUME_FACTOR, windowSeconds, counts);
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
  spend: CountRequest;
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
