/** Limit for each call of an application's hook. */
export const HOOK_TIMEOUT_MS = 30_000;

export class HookTimeoutError extends Error {
  override readonly name = 'HookTimeoutError';

  constructor() {
    super(`the hook did not finish within ${HOOK_TIMEOUT_MS} ms`);
  }
}
