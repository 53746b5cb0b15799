/** Detects a connection that is dead although no event says so. */
export interface Watchdog {
  /** Turns detection on or off. It is on while a message is expected. */
  watch(isExpecting: boolean): void;
  /** A packet of `units` UTF-16 units has arrived. */
  heard(units: number): void;
  /** The page may have been suspended: sends a probe now. */
  check(): void;
}

export interface WatchdogOptions {
  /** Sends a request that the server answers at once. */
  probe: () => void;
  /** Called when nothing arrived in time. */
  dead: () => void;
  /** Bytes that were sent and not answered yet. */
  unansweredBytes: () => number;
  /** False if the connection before this one was dead, too, which a very slow line may only seem to be. */
  isFirst: boolean;
}

const TICK_MS = 1_000;
/** A line that is quiet for this long is probed. */
const QUIET_MS = 4_000;
/** With the last tick it is 10 s. */
const PATIENCE_MS = 9_000;
const PATIENCE_AWAKE_MS = 3_000;
/** Longer ticks mean that the page was suspended. */
const SUSPENDED_TICK_MS = 5_000;
/** The server sends a ping every 25 s. */
const MAX_QUIET_MS = 45_000;
/** The slowest line that is not taken for dead carries 1 KB/s. */
const MS_PER_BYTE = 1;

/**
 * A connection is dead when nothing arrives for 10 s, plus the time that outstanding bytes need at 1 KB/s:
 * those that were sent and not answered, and those of one more packet, which may be as long as the packets
 * before it. The clock is the wall clock, since a monotonic one stands still while the machine sleeps.
 */
export function createWatchdog(options: WatchdogOptions): Watchdog {
  const { probe, dead, unansweredBytes, isFirst } = options;
  let heardAt = Date.now();
  /** The quiet that counts begins here; a suspended page cannot hear anything. */
  let quietSince = heardAt;
  let patienceMs = PATIENCE_MS;
  let isProbed = false;
  /** The longest packet of late: each packet halves it. */
  let recentUnits = 0;
  let tickedAt = heardAt;
  let timer: ReturnType<typeof setInterval> | undefined;

  function listenAgain(forMs: number): void {
    quietSince = Date.now();
    patienceMs = forMs;
    isProbed = false;
  }

  function send(): void {
    isProbed = true;
    probe();
  }

  function check(): void {
    if (Date.now() - heardAt > MAX_QUIET_MS) return dead();
    listenAgain(PATIENCE_AWAKE_MS);
    send();
  }

  function tick(): void {
    const now = Date.now();
    const wasSuspended = now - tickedAt > SUSPENDED_TICK_MS;
    tickedAt = now;
    if (wasSuspended) {
      listenAgain(PATIENCE_AWAKE_MS);
      return send();
    }
    const outstandingMs = (unansweredBytes() + recentUnits) * MS_PER_BYTE;
    const quietMs = now - quietSince;
    if (quietMs > patienceMs * (isFirst ? 1 : 2) + outstandingMs) dead();
    else if (quietMs >= QUIET_MS && !isProbed) send();
  }

  return {
    watch(isExpecting) {
      if (isExpecting === (timer !== undefined)) return;
      clearInterval(timer);
      tickedAt = Date.now();
      timer = isExpecting ? setInterval(tick, TICK_MS) : undefined;
      listenAgain(PATIENCE_MS);
    },
    heard(units) {
      heardAt = Date.now();
      recentUnits = Math.max(units, recentUnits / 2);
      listenAgain(PATIENCE_MS);
    },
    check,
  };
}
