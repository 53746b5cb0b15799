/** Finds out that a connection is dead though nobody has said so. */
export interface Watchdog {
  /** Watches while something is expected to come. */
  watch(isExpecting: boolean): void;
  /** Something came. */
  heard(): void;
  /** The page may have slept: asks at once. */
  check(): void;
}

const TICK_MS = 2_500;
const QUIET_MS = 10_000;
// A frame may take this long on a very slow line.
const PATIENCE_MS = 10_000;
const PATIENCE_AWAKE_MS = 3_000;
/** Servers say something every 25 s. */
const SURELY_DEAD_MS = 45_000;

/**
 * After a quiet while it has `probe` ask the other end for a sign of life, and calls `dead` when
 * nothing at all came in answer. By the wall clock: the other one stands still while a machine sleeps.
 */
export function createWatchdog(probe: () => void, dead: () => void): Watchdog {
  let heardAt = Date.now();
  let asked: { at: number; patienceMs: number } | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;

  function ask(patienceMs: number): void {
    asked = { at: Date.now(), patienceMs };
    probe();
  }

  function tick(): void {
    const now = Date.now();
    if (asked === undefined) {
      if (now - heardAt > QUIET_MS) ask(PATIENCE_MS);
      return;
    }
    const overdueMs = now - asked.at - asked.patienceMs;
    // While the page slept nothing could come.
    if (overdueMs > 2 * TICK_MS) ask(PATIENCE_AWAKE_MS);
    else if (overdueMs > 0) dead();
  }

  return {
    watch(isExpecting) {
      if (isExpecting === (timer !== undefined)) return;
      clearInterval(timer);
      timer = isExpecting ? setInterval(tick, TICK_MS) : undefined;
    },
    heard() {
      heardAt = Date.now();
      asked = undefined;
    },
    check() {
      if (Date.now() - heardAt > SURELY_DEAD_MS) dead();
      else ask(PATIENCE_AWAKE_MS);
    },
  };
}
