import { vi } from 'vitest';

/** What the configuration gives `expect.poll`, for the two that it does not reach. */
const TIMEOUT_MS = 10_000;

const { waitFor, waitUntil } = vi;
vi.waitFor = (check, options) => waitFor(check, patient(options));
vi.waitUntil = (check, options) => waitUntil(check, patient(options));

function patient(options: Parameters<typeof waitFor>[1] = {}) {
  return typeof options === 'number' ? options : { timeout: TIMEOUT_MS, ...options };
}
