import type { Delta } from './provider.js';

/** The delay of the first check. A loaded model usually answers a short question sooner. */
const FIRST_CHECK_MS = 250;
const CHECK_INTERVAL_MS = 1_000;

/**
 * Yields `loading` and `loaded` if the model has to be loaded before `asking` resolves. Ends when the model
 * is loaded, when `asking` settles, or when the first call of `isLoaded` fails. Does not throw.
 */
export async function* watchLoading(
  asking: Promise<unknown>,
  isLoaded: (signal: AbortSignal) => Promise<boolean>,
): AsyncGenerator<Delta, void, undefined> {
  const startedAt = performance.now();
  const looks = new AbortController();
  let hasFailed = false;
  const settled = asking.then(
    () => looks.abort(),
    () => {
      hasFailed = true;
      looks.abort();
    },
  );
  let isShown = false;
  try {
    for (let waitMs = FIRST_CHECK_MS; !looks.signal.aborted; waitMs = CHECK_INTERVAL_MS) {
      await pauseUntil(settled, waitMs);
      if (looks.signal.aborted) break;
      const loaded = await isLoaded(looks.signal).catch(() => undefined);
      if (loaded === true || (loaded === undefined && !isShown)) break;
      if (!isShown) {
        isShown = true;
        yield { type: 'loading' };
      }
    }
    if (isShown && !hasFailed)
      yield { type: 'loaded', ms: Math.round(performance.now() - startedAt) };
  } finally {
    looks.abort();
  }
}

/** Resolves after `ms` milliseconds, or as soon as `settled` does. */
async function pauseUntil(settled: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([settled, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}
