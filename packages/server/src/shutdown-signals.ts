/** The reason for a shutdown: a signal, or the exit of the npm process that started this one. */
export type ShutdownReason = 'SIGHUP' | 'SIGINT' | 'SIGTERM' | 'npm exited';

export interface ShutdownListener {
  /** Called for the first request to shut down. */
  end(reason: ShutdownReason): void;
  /** Called for a further signal. */
  endNow(reason: ShutdownReason): void;
}

const PARENT_CHECK_MS = 500;
/**
 * A terminal and systemd signal every process of a group. npm then forwards the signal to its child, which
 * receives it twice.
 */
const FORWARDED_MS = 500;

const parentAtStart = process.ppid;

/**
 * Listens for SIGHUP, SIGINT and SIGTERM. In a process that npm started, also detects the exit of npm: on some
 * signals npm exits without its script's process receiving them, because `sh` is between them. A process that
 * npm did not start may outlive its parent.
 */
export function onShutdownSignal({ end, endNow }: ShutdownListener): void {
  const isStartedByNpm = Boolean(process.env['npm_lifecycle_event']);
  let endsSince: number | undefined;

  function begin(reason: ShutdownReason): void {
    clearInterval(parentCheck);
    endsSince = performance.now();
    end(reason);
  }

  function receive(signal: ShutdownReason): void {
    if (endsSince === undefined) return begin(signal);
    if (isStartedByNpm && performance.now() - endsSince < FORWARDED_MS) return;
    endNow(signal);
  }

  process.on('SIGHUP', receive);
  process.on('SIGINT', receive);
  process.on('SIGTERM', receive);
  const parentCheck = isStartedByNpm
    ? setInterval(() => {
        if (process.ppid !== parentAtStart) begin('npm exited');
      }, PARENT_CHECK_MS).unref()
    : undefined;
}
