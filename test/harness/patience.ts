import { vi } from 'vitest';

/** As for `expect.poll` in the configuration, which has no setting for these two. */
const TIMEOUT_MS = 10_000;

const { waitFor, waitUntil } = vi;
vi.waitFor = (check, options) => waitFor(check, patient(options));
vi.waitUntil = (check, options) => waitUntil(check, patient(options));

function patient(options: Parameters<typeof waitFor>[1] = {}) {
  return typeof options === 'number' ? options : { timeout: TIMEOUT_MS, ...options };
}
