/**
 * Calls `listener` when the page may have been away: it is shown again, was thawed or restored, or the
 * network is back. Timers and sockets of a page that sleeps stand still, and nobody is told.
 */
export function onWake(listener: () => void): () => void {
  if (typeof window === 'undefined') return () => {};
  const shown = (): void => {
    if (document.visibilityState === 'visible') listener();
  };
  window.addEventListener('online', listener);
  window.addEventListener('pageshow', listener);
  document.addEventListener('visibilitychange', shown);
  document.addEventListener('resume', listener);
  return () => {
    window.removeEventListener('online', listener);
    window.removeEventListener('pageshow', listener);
    document.removeEventListener('visibilitychange', shown);
    document.removeEventListener('resume', listener);
  };
}
