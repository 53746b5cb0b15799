/**
 * Calls `show` with the seconds until `at` (milliseconds since 1970), at once and each second until they are 0.
 *
 * @returns a function that ends it.
 */
export function countdown(at: number | undefined, show: (seconds: number) => void): () => void {
  function tick(): void {
    const seconds = Math.max(0, Math.ceil(((at ?? 0) - Date.now()) / 1000));
    if (seconds === 0) clearInterval(timer);
    show(seconds);
  }

  const timer = setInterval(tick, 1000);
  tick();
  return () => clearInterval(timer);
}
