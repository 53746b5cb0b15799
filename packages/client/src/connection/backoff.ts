/** Decides how long a client waits before the next attempt to connect. */
export interface Backoff {
  /** Attempts that failed since the connection was lost; undefined while there is no outage. */
  readonly attempts: number | undefined;
  /** There is no outage, or nothing is to be tried any more. */
  endOutage(): void;
  /** The server has accepted a request: the delays begin again with the shortest. */
  accepted(): void;
  /**
   * Notes that an attempt failed, or that the connection which was made at `connectedAt` is lost.
   *
   * @param isAnswered true if trying again at once is of no use, though the line is there.
   * @returns the milliseconds before the next attempt. Jitter spreads the attempts of clients that lost
   * their connections at the same moment.
   */
  failed(connectedAt: number | undefined, isAnswered: boolean): number;
}

/** An outage of this length is probably over soon, so the attempts are close to each other. */
const CLOSE_RETRIES_MS = 5_000;
const CLOSE_RETRY_MS = 200;
const CLOSE_RETRY_JITTER_MS = 80;
const FIRST_MS = 250;
const MAX_MS = 10_000;
/** A connection that lasts this long was good: the delays begin again with the shortest. */
const STABLE_MS = 5_000;

export function createBackoff(): Backoff {
  let outage: { since: number; attempts: number } | undefined;
  /** Sets the next long delay. */
  let failures = 0;

  return {
    get attempts() {
      return outage?.attempts;
    },
    endOutage() {
      outage = undefined;
    },
    accepted() {
      failures = 0;
    },
    failed(connectedAt, isAnswered) {
      const now = Date.now();
      outage ??= { since: now, attempts: 0 };
      if (connectedAt === undefined) {
        outage.attempts += 1;
        if (!isAnswered && now - outage.since < CLOSE_RETRIES_MS) {
          return CLOSE_RETRY_MS + CLOSE_RETRY_JITTER_MS * Math.random();
        }
      } else if (now - connectedAt > STABLE_MS) failures = 0;
      const maxMs = Math.min(MAX_MS, FIRST_MS * 2 ** failures++);
      return (maxMs / 2) * (1 + Math.random());
    },
  };
}
