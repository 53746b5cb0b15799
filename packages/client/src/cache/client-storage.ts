import type { CacheOptions } from '../types.js';
import { createJournal, type Journal } from './journal.js';
import { createLocalStore, type LocalStore } from './local-store.js';
import { createResponseCache, type ResponseCache } from './response-cache.js';

/** The response cache and the journal of one user of one server, in one store. */
export interface ClientStorage {
  readonly store: LocalStore;
  readonly cache: ResponseCache;
  readonly journal: Journal;
  /** Removes everything, in every tab. Answers to earlier questions are not stored afterwards. */
  clear(): Promise<void>;
  close(): void;
}

const SWEEP_EVERY_MS = 3_600_000;
const IDLE_TIMEOUT_MS = 5_000;

/** Expired entries are removed when the page is idle after the first use and after each write, and hourly. */
export function createClientStorage(url: string | undefined, options: CacheOptions): ClientStorage {
  let timer: ReturnType<typeof setInterval> | undefined;
  let isSweepDue = false;
  const store = createLocalStore(storeName(url, options), options.storage, () => {
    sweepWhenIdle();
    timer = setInterval(sweepWhenIdle, SWEEP_EVERY_MS);
    (timer as { unref?: () => void }).unref?.();
  });
  const cache = createResponseCache(store, options, sweepWhenIdle);
  const journal = createJournal(store);

  function sweepWhenIdle(): void {
    if (isSweepDue) return;
    isSweepDue = true;
    const sweep = (): void => {
      isSweepDue = false;
      cache.sweep().catch(() => {});
      journal.sweep().catch(() => {});
    };
    if (typeof requestIdleCallback === 'undefined') setTimeout(sweep);
    else requestIdleCallback(sweep, { timeout: IDLE_TIMEOUT_MS });
  }

  return {
    store,
    cache,
    journal,
    clear: store.clear,
    close() {
      clearInterval(timer);
      store.close();
    },
  };
}

/** The name ends with `]`, so that no name is the beginning of another one. */
function storeName(url: string | undefined, { namespace = 'default' }: CacheOptions): string {
  const server = url?.replace(/\/+$/, '') || globalThis.location?.origin;
  return `rivulet:${JSON.stringify([server, namespace])}`;
}
