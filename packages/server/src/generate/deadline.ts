import { StreamError } from '@rivulet/protocol';
import type { Delta } from './providers/provider.js';

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

/**
 * What `open` streams, ended with `provider_timeout` or `stalled` when it keeps silent too long.
 * The time that the caller takes between deltas does not count as silence.
 */
export async function* withDeadlines(
  open: (signal: AbortSignal) => AsyncIterable<Delta>,
  { name, signal, deadlines }: DeadlineOptions,
): AsyncGenerator<Delta, void, undefined> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const follow = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', follow);

  const expire = (code: 'provider_timeout' | 'stalled', ms: number, what: string) => {
    const message = `unable to get an answer from ${name}: ${what} within ${ms} ms`;
    return setTimeout(() => controller.abort(new StreamError(code, message)), ms);
  };
  const total = expire('provider_timeout', deadlines.totalMs, 'it did not finish');
  let silence = expire('provider_timeout', deadlines.firstChunkMs, 'it did not begin');
  const iterator = open(controller.signal)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await iterator.next();
      clearTimeout(silence);
      if (done) return;
      yield value;
      silence = expire('stalled', deadlines.stallMs, 'no further text came');
    }
  } finally {
    clearTimeout(silence);
    clearTimeout(total);
    // Not the abort first: a provider whose answer is complete keeps its connection for the next one.
    await iterator.return?.();
    signal.removeEventListener('abort', follow);
    controller.abort();
  }
}
