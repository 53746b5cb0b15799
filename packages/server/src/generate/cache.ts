import { createHash } from 'node:crypto';
import type { Usage } from '@rivulet/protocol';
import { LRUCache } from 'lru-cache';
import type { ModelName, Prompt } from '../providers/provider.js';

/** The users that a cached answer is for: all who ask the same, or the same principal only. */
export type CacheScope = 'shared' | 'principal';

/** A complete answer. */
export interface CachedAnswer {
  text: string;
  usage: Usage;
  /** The oldest messages of the context that the model was not given; absent for none. */
  omittedMessages?: number;
}

/** Complete answers by key. Whoever calls treats a throw as a miss. */
export interface ResponseCache {
  /** UTF-16 units of the longest answer that is given to `set`; no bound unless given. */
  readonly maxAnswerUnits?: number;
  /** A promise is for a cache that other processes share. One that rejects is a miss. */
  get(key: string): CachedAnswer | undefined | Promise<CachedAnswer | undefined>;
  /** `principal` is whose request the answer was generated for, by which `forget` finds it; it may be absent. */
  set(key: string, answer: CachedAnswer, principal?: string): void;
  /** The answers in the memory of this process, the newest first. */
  values?(): Iterable<CachedAnswer>;
  /** Removes all answers that were set for the principal. Without it, `LlmService.forget` rejects. */
  forget?(principal: string): void | Promise<void>;
  /**
   * Calls `listener` when another process has removed the answers of a principal; without one, if it may
   * have done so for any. Answers that are being generated for the principal are not kept then.
   */
  onForget?(listener: (principal: string | undefined) => void): void;
}

export interface ResponseCacheOptions {
  ttlSeconds: number;
  maxBytes: number;
}

export function createResponseCache(options: ResponseCacheOptions): ResponseCache {
  return createLocalCache(options);
}

/** Answers in the memory of this process. */
export interface LocalCache extends ResponseCache {
  readonly maxAnswerUnits: number;
  get(key: string): CachedAnswer | undefined;
  /** @param ttlMs the cache's own unless given. */
  set(key: string, answer: CachedAnswer, principal?: string, ttlMs?: number): void;
  values(): Iterable<CachedAnswer>;
  forget(principal: string): void;
  clear(): void;
}

export function createLocalCache({ ttlSeconds, maxBytes }: ResponseCacheOptions): LocalCache {
  const answers = new LRUCache<string, CacheEntry>({
    maxSize: maxBytes,
    sizeCalculation: ({ answer: { text }, principal = '' }, key) =>
      BYTES_PER_UNIT * (text.length + key.length + principal.length) + ENTRY_BYTES,
    ttl: ttlSeconds * 1000,
  });
  return {
    maxAnswerUnits: Math.floor((maxBytes * LARGEST_SHARE) / BYTES_PER_UNIT),
    get: (key) => answers.get(key)?.answer,
    set(key, answer, principal, ttlMs) {
      answers.set(key, { answer, principal }, ttlMs === undefined ? {} : { ttl: ttlMs });
    },
    *values() {
      for (const { answer } of answers.values()) yield answer;
    },
    forget(principal) {
      // An index by principal would cost memory for each answer. Forgetting is rare.
      for (const [key, entry] of answers.entries()) {
        if (entry.principal === principal) answers.delete(key);
      }
    },
    clear: () => answers.clear(),
  };
}

interface CacheEntry {
  answer: CachedAnswer;
  principal: string | undefined;
}

const BYTES_PER_UNIT = 2;
const ENTRY_BYTES = 300;
/** One answer may take this part of the cache. Until an answer ends, its text is held for the cache. */
const LARGEST_SHARE = 1 / 8;

/**
 * The key of an answer of a provider. It covers all that the model is told. `principal` is undefined if
 * the answer is for everybody who asks the same.
 */
export function cacheKey(
  principal: string | undefined,
  { name, model }: ModelName,
  prompt: Prompt,
): string {
  const parts = [principal ?? null, name, model, prompt];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
