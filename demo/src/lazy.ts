/** A part of the page that is loaded when it is first needed. */
export interface Lazy<T> {
  /** The part, or undefined while it is not there; then it is being loaded. */
  get(): T | undefined;
}

const underWay = new Set<Promise<void>>();

/** After a failed load, such as one while the browser is offline, the next use after this time loads again. */
const RETRY_MS = 10_000;

export function lazy<T>(load: () => Promise<T>): Lazy<T> {
  let part: T | undefined;
  let isLoading = false;
  let retryAt = 0;

  async function begin(): Promise<void> {
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
        const loading = begin().finally(() => underWay.delete(loading));
        underWay.add(loading);
      }
      return part;
    },
  };
}

/** @returns a promise that settles when all that is being loaded is there; undefined if nothing is. */
export function whenLoaded(): Promise<unknown> | undefined {
  return underWay.size === 0 ? undefined : Promise.all(underWay);
}
