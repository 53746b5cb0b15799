/**
 * Parses the headers `retry-after-ms` and `retry-after`: seconds, or a date.
 *
 * @returns undefined if the response has neither.
 */
export function retryAfterMs(header: (name: string) => string | undefined): number | undefined {
  const ms = Number(header('retry-after-ms') ?? NaN);
  if (ms >= 0) return Math.ceil(ms);
  const given = header('retry-after') ?? '';
  const seconds = given === '' ? NaN : Number(given);
  const waitMs = Number.isNaN(seconds) ? Date.parse(given) - Date.now() : seconds * 1_000;
  return waitMs >= 0 ? Math.ceil(waitMs) : undefined;
}
