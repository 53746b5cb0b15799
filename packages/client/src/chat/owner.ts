/** What `navigator.locks` has to do here; React Native and Node 20 have none. */
type Locks = Pick<LockManager, 'request'>;

const PREFIX = 'rivulet:owner:';

function locks(): Locks | undefined {
  return (globalThis.navigator as { locks?: Locks } | undefined)?.locks;
}

/** Says to other tabs that `owner` is alive. @returns a function that ends it. */
export function holdOwnership(owner: string): () => void {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  locks()
    ?.request(PREFIX + owner, () => released)
    .catch(() => {});
  return release;
}

/**
 * Calls `takeOver` once the page of `owner` is gone, for one page at a time: at once where there are no locks.
 *
 * @returns a function that ends it.
 */
export function whenOwnerGone(owner: string, takeOver: () => Promise<void>): () => void {
  const controller = new AbortController();
  const manager = locks();
  if (manager === undefined) void takeOver();
  else {
    manager
      .request(PREFIX + owner, { signal: controller.signal }, takeOver)
      // Ended, or the page may not use locks.
      .catch(() => {});
  }
  return () => controller.abort();
}
