/** A part of the page that is loaded when it is first needed. */
export interface Lazy<T> {
  /** The part, or undefined while it is not there; then it is being loaded. */
  get(): T | undefined;
}

const pendingLoads = new Set<Promise<void>>();

/** After a failed load, such as one while the browser is offline, the next use after this time loads again. */
const RETRY_MS = 10_000;

export function lazy<T>(load: () => Promise<T>): Lazy<T> {
  let part: T | undefined;
  let isLoading = false;
  let retryAt = 0;

  async function start(): Promise<void> {
    try {
      part = await load();
    } catch {
      retryAt = performance.now() + RETRY_MS;
    }
    isLoading = false;
  }

  return {
    get() {
      if (part === undefined && !isLoading && performance.now() >= retryAt) {
        isLoading = true;
        const loading = start().finally(() => pendingLoads.delete(loading));
        pendingLoads.add(loading);
      }
      return part;
    },
  };
}

/** @returns a promise that settles when all that is being loaded is there; undefined if nothing is. */
export function whenLoaded(): Promise<unknown> | undefined {
  return pendingLoads.size === 0 ? undefined : Promise.all(pendingLoads);
}
