/** Decides how long a client waits before the next attempt to connect. */
export interface Backoff {
  /** Attempts that failed since the connection was lost; undefined while there is no outage. */
  readonly attempts: number | undefined;
  /** Ends the outage: the connection works, or the client does not try any more. */
  endOutage(): void;
  /** Starts the delays again with the shortest. */
  reset(): void;
  /**
   * Notes that an attempt failed, or that a connection since `connectedAt` (milliseconds since 1970) was lost.
   *
   * @param isAnswered true if something answered: fast retries are for an unreachable server only.
   * @returns the milliseconds before the next attempt. Jitter spreads the attempts of clients that lost
   * their connections at the same moment.
   */
  nextDelayMs(connectedAt: number | undefined, isAnswered: boolean): number;
}

/** An outage of this length is probably over soon, so the attempts are close to each other. */
const FAST_PERIOD_MS = 5_000;
const FAST_DELAY_MS = 200;
const FAST_JITTER_MS = 80;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 10_000;
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
    reset() {
      failures = 0;
    },
    nextDelayMs(connectedAt, isAnswered) {
      const now = Date.now();
      outage ??= { since: now, attempts: 0 };
      if (connectedAt === undefined) {
        outage.attempts += 1;
        if (!isAnswered && now - outage.since < FAST_PERIOD_MS) {
          return FAST_DELAY_MS + FAST_JITTER_MS * Math.random();
        }
      } else if (now - connectedAt > STABLE_MS) failures = 0;
      const maxMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** failures++);
      return (maxMs / 2) * (1 + Math.random());
    },
  };
}
