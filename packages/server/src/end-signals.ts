/** What asks a process to end: a signal, or the exit of the npm that started it. */
export type EndReason = 'SIGINT' | 'SIGTERM' | 'npm exited';

export interface EndListener {
  /** The first request to end. */
  end(reason: EndReason): void;
  /** A further signal. */
  endNow(reason: EndReason): void;
}

const PARENT_CHECK_MS = 500;
/**
 * A terminal and systemd signal every process of a group, and npm then passes the signal on to the one
 * that it started, which gets it twice.
 */
const PASSED_ON_MS = 500;

const parentAtStart = process.ppid;

/**
 * Listens for SIGINT and SIGTERM, and, in a process that npm started, for npm's exit: npm may exit on a
 * signal that its script's process never gets, since `sh` is between them. A process that npm did not start
 * may outlive its parent.
 */
export function onEndSignal({ end, endNow }: EndListener): void {
  const isStartedByNpm = Boolean(process.env['npm_lifecycle_event']);
  let endsSince: number | undefined;

  function begin(reason: EndReason): void {
    clearInterval(parentCheck);
    endsSince = performance.now();
    end(reason);
  }

  function receive(signal: EndReason): void {
    if (endsSince === undefined) return begin(signal);
    if (isStartedByNpm && performance.now() - endsSince < PASSED_ON_MS) return;
    endNow(signal);
  }

  process.on('SIGINT', receive);
  process.on('SIGTERM', receive);
  const parentCheck = isStartedByNpm
    ? setInterval(() => {
        if (process.ppid !== parentAtStart) begin('npm exited');
      }, PARENT_CHECK_MS).unref()
    : undefined;
}
