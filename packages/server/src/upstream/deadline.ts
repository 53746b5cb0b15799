import { StreamError } from '@rivulet/protocol';

/** How long a provider may be silent, and take. */
export interface Deadlines {
  firstChunkMs: number;
  stallMs: number;
  totalMs: number;
}

export interface DeadlineOptions {
  /** The provider, as the message names it. */
  name: string;
  signal: AbortSignal;
  deadlines: Deadlines;
}

/** Looks at the clock while a provider answers. It is told of each delta, and makes none wait. */
export interface Watch {
  /** Aborts with `provider_timeout` or `stalled` when the provider kept silent too long; and as `signal` does. */
  readonly signal: AbortSignal;
  /** A delta came. The time that the caller takes for it does not count as silence. */
  heard(): void;
  /** The next one is waited for. */
  listen(): void;
  /** The answer is over, however it ended; what still listens to `signal` may go. */
  end(): void;
}

/** Begins to wait for the first delta. Throws `signal.reason` when it has aborted. */
export function watchDeadlines({ name, signal, deadlines }: DeadlineOptions): Watch {
  signal.throwIfAborted();
  const controller = new AbortController();
  const follow = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', follow);

  let listening = true;
  const expire = (code: 'provider_timeout' | 'stalled', ms: number, what: string): void => {
    const message = `unable to get an answer from ${name}: ${what} within ${ms} ms`;
    controller.abort(new StreamError(code, message));
  };
  const total = setTimeout(
    () => expire('provider_timeout', deadlines.totalMs, 'it did not finish'),
    deadlines.totalMs,
  );
  const first = setTimeout(
    () => expire('provider_timeout', deadlines.firstChunkMs, 'it did not begin'),
    deadlines.firstChunkMs,
  );
  let stall: NodeJS.Timeout | undefined;

  return {
    signal: controller.signal,
    heard() {
      if (stall === undefined) clearTimeout(first);
      listening = false;
    },
    listen() {
      listening = true;
      // Refreshed and not made anew, or each token of each answer would cost a timer.
      stall =
        stall?.refresh() ??
        setTimeout(() => {
          if (listening) expire('stalled', deadlines.stallMs, 'no further text came');
        }, deadlines.stallMs);
    },
    end() {
      for (const timer of [total, first, stall]) clearTimeout(timer);
      signal.removeEventListener('abort', follow);
      controller.abort();
    },
  };
}
