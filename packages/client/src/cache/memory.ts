import type { StreamStartRequest } from '@rivulet/protocol';
import { sha256 } from '../digest.js';
import type { CacheOptions } from '../types.js';
import { createJournal, type Journal } from './journal.js';
import { createLocalStore, type LocalStore } from './local-store.js';
import { createResponseCache, type ResponseCache } from './response-cache.js';

/** What this browser keeps for one user of one server. */
export interface Memory {
  readonly store: LocalStore;
  readonly answers: ResponseCache;
  readonly journal: Journal;
  /** The key under which the answer to `request` is kept. */
  keyOf(request: StreamStartRequest): Promise<string>;
  /** Forgets everything, in every tab; what was asked before is not kept after. */
  clear(): Promise<void>;
  close(): void;
}

const SWEEP_EVERY_MS = 3_600_000;
const IDLE_TIMEOUT_MS = 5_000;

/** What has expired is removed when the page is idle after the first use and after each write, and hourly. */
export function createMemory(url: string | undefined, options: CacheOptions): Memory {
  let timer: ReturnType<typeof setInterval> | undefined;
  let isSweepDue = false;
  const store = createLocalStore(nameOf(url, options), options.storage, () => {
    sweepWhenIdle();
    timer = setInterval(sweepWhenIdle, SWEEP_EVERY_MS);
    (timer as { unref?: () => void }).unref?.();
  });
  const answers = createResponseCache(store, options, sweepWhenIdle);
  const journal = createJournal(store);

  function sweepWhenIdle(): void {
    if (isSweepDue) return;
    isSweepDue = true;
    const sweep = (): void => {
      isSweepDue = false;
      answers.sweep().catch(() => {});
      journal.sweep().catch(() => {});
    };
    if (typeof requestIdleCallback === 'undefined') setTimeout(sweep);
    else requestIdleCallback(sweep, { timeout: IDLE_TIMEOUT_MS });
  }

  return {
    store,
    answers,
    journal,
    keyOf: cacheKey,
    clear: store.clear,
    close() {
      clearInterval(timer);
      store.close();
    },
  };
}

/** Ends in a way that no other name goes on from. */
function nameOf(url: string | undefined, { namespace = 'default' }: CacheOptions): string {
  const server = url?.replace(/\/+$/, '') || globalThis.location?.origin;
  return `rivulet:${JSON.stringify([server, namespace])}`;
}

/**
 * What decides an answer: the question, its history and intent, the text that it continues, the generation
 * options. Thoughts are not kept. Where there is no SHA-256 the canonical text itself is the key.
 */
async function cacheKey({
  query,
  context,
  intent,
  options,
  continue_text,
}: StreamStartRequest): Promise<string> {
  const parameters = Object.entries(intent?.parameters ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  // The fields of the others are always in the same order.
  const rest = { ...options, cache: undefined, thoughts: undefined, continue_text };
  const parts = [query, context ?? [], intent?.name, parameters, rest];
  const canonical = JSON.stringify(parts);
  return (await sha256(canonical)) ?? canonical;
}
