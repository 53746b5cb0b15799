/**
 * Calls `listener` when the page may have been suspended: it becomes visible, is resumed or restored, or
 * the network is back (`isOnline` is true). Timers and sockets of a suspended page stand still, and no
 * event says so. In a worker only `online` exists; in React Native and Node.js nothing is called.
 *
 * @returns a function that stops listening.
 */
export function onWake(listener: (isOnline: boolean) => void): () => void {
  if (typeof addEventListener !== 'function') return () => {};
  const removal = new AbortController();
  const { signal } = removal;
  const wake = (): void => listener(false);
  addEventListener('online', () => listener(true), { signal });
  if (typeof document !== 'undefined') {
    const wakeIfVisible = (): void => {
      if (document.visibilityState === 'visible') wake();
    };
    addEventListener('pageshow', wake, { signal });
    document.addEventListener('visibilitychange', wakeIfVisible, { signal });
    document.addEventListener('resume', wake, { signal });
  }
  return () => removal.abort();
}
