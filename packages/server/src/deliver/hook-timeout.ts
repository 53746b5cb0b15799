/** The time that a hook of the application may take. */
export const HOOK_TIMEOUT_MS = 30_000;

export class HookTimeoutError extends Error {
  override readonly name = 'HookTimeoutError';

  constructor() {
    super(`the hook did not finish within ${HOOK_TIMEOUT_MS} ms`);
  }
}
