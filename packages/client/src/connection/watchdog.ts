/** Detects a connection that is dead although no event says so. */
export interface Watchdog {
  /** Turns detection on or off. It is on while a message is expected. */
  setEnabled(isEnabled: boolean): void;
  /** A packet of `units` UTF-16 units has arrived. */
  onPacket(units: number): void;
  /** The page may have been suspended: sends a probe now. */
  probeNow(): void;
}

export interface WatchdogOptions {
  /** Sends a request that the server answers at once. */
  sendProbe: () => void;
  /** Called when nothing arrived in time. */
  onDead: () => void;
  /** Bytes that were sent and not answered yet. */
  unansweredBytes: () => number;
  /** False if the previous connection was unresponsive too; a very slow line needs twice the time. */
  isFirstFailure: boolean;
}

const TICK_MS = 1_000;
/** A line that is quiet for this long is probed. */
const QUIET_MS = 4_000;
/** With the last tick it is 10 s. */
const TIMEOUT_MS = 9_000;
const WAKE_TIMEOUT_MS = 3_000;
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
  const { sendProbe, onDead, unansweredBytes, isFirstFailure } = options;
  let lastPacketAt = Date.now();
  /** The quiet that counts begins here; a suspended page cannot hear anything. */
  let waitingSince = lastPacketAt;
  let timeoutMs = TIMEOUT_MS;
  let isProbed = false;
  /** The longest packet of late: each packet halves it. */
  let recentUnits = 0;
  let lastTickAt = lastPacketAt;
  let timer: ReturnType<typeof setInterval> | undefined;

  function restartTimeout(forMs: number): void {
    waitingSince = Date.now();
    timeoutMs = forMs;
    isProbed = false;
  }

  function probe(): void {
    isProbed = true;
    sendProbe();
  }

  function probeNow(): void {
    if (Date.now() - lastPacketAt > MAX_QUIET_MS) return onDead();
    restartTimeout(WAKE_TIMEOUT_MS);
    probe();
  }

  function tick(): void {
    const now = Date.now();
    const wasSuspended = now - lastTickAt > SUSPENDED_TICK_MS;
    lastTickAt = now;
    if (wasSuspended) {
      restartTimeout(WAKE_TIMEOUT_MS);
      return probe();
    }
    const outstandingMs = (unansweredBytes() + recentUnits) * MS_PER_BYTE;
    const quietMs = now - waitingSince;
    if (quietMs > timeoutMs * (isFirstFailure ? 1 : 2) + outstandingMs) onDead();
    else if (quietMs >= QUIET_MS && !isProbed) probe();
  }

  return {
    setEnabled(isExpecting) {
      if (isExpecting === (timer !== undefined)) return;
      clearInterval(timer);
      lastTickAt = Date.now();
      timer = isExpecting ? setInterval(tick, TICK_MS) : undefined;
      restartTimeout(TIMEOUT_MS);
    },
    onPacket(units) {
      lastPacketAt = Date.now();
      recentUnits = Math.max(units, recentUnits / 2);
      restartTimeout(TIMEOUT_MS);
    },
    probeNow,
  };
}
