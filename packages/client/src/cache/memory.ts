import type { StreamStartRequest } from '@rivulet/protocol';
import type { CacheOptions } from '../types.js';
import { createJournal, type Journal } from './journal.js';
import { cacheKey } from './key.js';
import { createLocalStore } from './local-store.js';
import { createResponseCache, type ResponseCache } from './response-cache.js';

/** What this browser keeps for one user of one server. */
export interface Memory {
  readonly answers: ResponseCache;
  /** Undefined where nothing outlives the page. */
  readonly journal: Journal | undefined;
  /** What the answer to `request` is kept under. */
  keyOf(request: StreamStartRequest): Promise<string>;
  /** Forgets everything, in every tab; what was asked before is not kept after. */
  clear(): Promise<void>;
  close(): void;
}

export function createMemory(url: string, options: CacheOptions): Memory {
  const store = createLocalStore(options.namespace ?? 'default');
  return {
    answers: createResponseCache(store, options),
    journal: typeof indexedDB === 'undefined' ? undefined : createJournal(store),
    keyOf: (request) => cacheKey(url, request),
    clear: store.clear,
    close: store.close,
  };
}
