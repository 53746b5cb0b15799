import { byteLength } from '../byte-length.js';
import type { FinishReason, StreamStartRequest, Usage } from '@rivulet/protocol';
import { sha256 } from '../digest.js';
import type { CacheOptions } from '../types.js';
import type { LocalStore } from './local-store.js';

/** A complete answer as the cache stores it, with the provider and model that gave it. */
export interface CachedAnswer {
  text: string;
  provider: string;
  model: string;
  finishReason: FinishReason;
  usage: Usage;
  /** The number of oldest messages that the model did not receive; absent for 0. */
  omittedMessages?: number;
  /** Milliseconds since 1970. */
  createdAt: number;
}

/** The cache entry that an answer becomes when it is complete. */
export interface CacheTarget {
  key: string;
  /** Milliseconds since 1970. An answer that was asked for before a `clear` is not stored after it. */
  askedAt: number;
  /** True if the answer replaces an entry that was stored after `askedAt`. */
  replaces: boolean;
}

/** Complete answers of one user. A read that fails is a miss; an answer whose write fails is not stored. */
export interface ResponseCache {
  /** @returns the key of the entry for `request`. */
  keyOf(request: StreamStartRequest): Promise<string>;
  get(key: string): Promise<CachedAnswer | undefined>;
  put(target: CacheTarget, answer: CachedAnswer): Promise<void>;
  /** Removes expired entries, and the least recently used ones beyond the limits. */
  sweep(): Promise<void>;
}

/** Stored beside each answer, so that eviction does not have to read the answers. */
interface Meta {
  /** Bytes of the answer. */
  size: number;
  createdAt: number;
  usedAt: number;
}

const BODY = 'b:';
const META = 'm:';
const DAY_SECONDS = 86_400;
const MAX_BYTES = 32 * 1024 * 1024;

export function createResponseCache(
  store: LocalStore,
  { maxAgeSeconds = DAY_SECONDS, maxEntries = 500, maxBytes = MAX_BYTES }: CacheOptions,
  onPut: () => void,
): ResponseCache {
  const isFresh = ({ createdAt }: { createdAt: number }): boolean =>
    store.isFresh(createdAt, maxAgeSeconds * 1000);

  function remove(keys: string[]): Promise<void> {
    return store.remove(keys.flatMap((key) => [BODY + key, META + key]));
  }

  function touch(key: string): void {
    const usedAt = Date.now();
    const change = ([meta]: unknown[]): [string, Meta][] =>
      isMeta(meta) ? [[META + key, { ...meta, usedAt }]] : [];
    store.write([META + key], usedAt, change).catch(() => {});
  }

  /** @returns unreadable and expired entries first, then the others from the least recently used on. */
  async function inEvictionOrder(): Promise<{ key: string; size: number; isExpired: boolean }[]> {
    const metas = (await store.list(META)).map(([key, value]) => {
      const meta =
        isMeta(value) && isFresh(value) && store.isFresh(value.usedAt, Infinity)
          ? value
          : undefined;
      const { size = 0, usedAt = 0 } = meta ?? {};
      return { key: key.slice(META.length), size, usedAt, isExpired: meta === undefined };
    });
    return metas.sort((a, b) => a.usedAt - b.usedAt);
  }

  async function sweep(): Promise<void> {
    const metas = await inEvictionOrder();
    let count = metas.length;
    let bytes = metas.reduce((sum, { size }) => sum + size, 0);
    const evicted = metas.filter(({ size, isExpired }) => {
      if (!isExpired && count <= maxEntries && bytes <= maxBytes) return false;
      count -= 1;
      bytes -= size;
      return true;
    });
    if (evicted.length > 0) await remove(evicted.map(({ key }) => key));
  }

  async function makeRoom(): Promise<void> {
    const metas = await inEvictionOrder();
    await remove(metas.slice(0, Math.ceil(metas.length / 4)).map(({ key }) => key));
  }

  return {
    keyOf: cacheKey,
    async get(key) {
      const cached = await store.get(BODY + key);
      if (cached === undefined) return undefined;
      if (isCachedAnswer(cached) && isFresh(cached)) {
        touch(key);
        return cached;
      }
      // Not awaited: a question does not wait for a disk that does not respond.
      remove([key]).catch(() => {});
      return undefined;
    },
    async put({ key, askedAt, replaces }, answer) {
      const { createdAt } = answer;
      const meta: Meta = { size: sizeOf(answer), createdAt, usedAt: createdAt };
      if (meta.size > maxBytes) return;
      const entries: [string, unknown][] = [
        [META + key, meta],
        [BODY + key, answer],
      ];
      // Another tab that read the same generation may already have stored the answer.
      const isStored = (present: unknown): boolean =>
        !replaces && isMeta(present) && isFresh(present) && present.createdAt >= askedAt;
      const write = (): Promise<void> =>
        store.write([META + key], askedAt, ([present]) => (isStored(present) ? [] : entries));
      await write()
        .catch((error: unknown) => {
          if (!(error instanceof Error) || error.name !== 'QuotaExceededError') throw error;
          return makeRoom().then(write);
        })
        .catch(() => store.keepInMemory(entries, askedAt));
      onPut();
    },
    sweep,
  };
}

/**
 * The key covers everything that determines an answer: the question, its history and intent, the text that
 * it continues, and the generation options. The cache does not store thoughts. In an insecure context, where
 * SHA-256 is missing, the canonical text itself is the key.
 */
async function cacheKey({
  query,
  context,
  intent,
  options,
  continue_text,
}: StreamStartRequest): Promise<string> {
  const parameters = Object.entries(intent?.parameters ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  // The other objects always have their fields in the same order.
  const rest = { ...options, cache: undefined, thoughts: undefined, continue_text };
  const parts = [query, context ?? [], intent?.name, parameters, rest];
  const canonical = JSON.stringify(parts);
  return (await sha256(canonical)) ?? canonical;
}

function sizeOf(answer: CachedAnswer): number {
  return byteLength(JSON.stringify(answer));
}

/** Another version of this package, or another script, may have written the entry. */
function isCachedAnswer(value: unknown): value is CachedAnswer {
  const { text, provider, model, createdAt } = Object(value) as Partial<CachedAnswer>;
  const isText = [text, provider, model].every((part) => typeof part === 'string');
  return isText && typeof createdAt === 'number';
}

function isMeta(value: unknown): value is Meta {
  const { size, createdAt, usedAt } = Object(value) as Partial<Meta>;
  return [size, createdAt, usedAt].every((number) => typeof number === 'number');
}
