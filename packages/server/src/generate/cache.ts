import { createHash } from 'node:crypto';
import type { Usage } from '@rivulet/protocol';
import { LRUCache } from 'lru-cache';
import type { ModelName, Prompt } from '../providers/provider.js';

/** The users that may receive a cached answer: all users, or only the principal of the request. */
export type CacheScope = 'shared' | 'principal';

/** A complete answer. */
export interface CachedAnswer {
  text: string;
  usage: Usage;
  /** The number of the oldest messages that the model did not receive; absent for none. */
  omittedMessages?: number;
}

/** Complete answers by key. A method that throws counts as a miss. */
export interface ResponseCache {
  /** The longest answer that is passed to `set`, in UTF-16 units. No limit unless given. */
  readonly maxAnswerUnits?: number;
  /** A cache that other processes share returns a promise. A rejected promise counts as a miss. */
  get(key: string): CachedAnswer | undefined | Promise<CachedAnswer | undefined>;
  /**
   * `principal` identifies the user for `forget`; undefined if the request has no principal. The answer does not wait
   * for a promise; one that rejects is logged as `LLM_CACHE_FAILED`.
   */
  set(key: string, answer: CachedAnswer, principal?: string): void | Promise<void>;
  /** The answers in the memory of this process, the newest first. */
  values?(): Iterable<CachedAnswer>;
  /** Removes all answers that were set for the principal. Without it, `LlmService.forget` rejects. */
  forget?(principal: string): void | Promise<void>;
  /**
   * Calls `listener` when another process has removed the answers of a principal, or without a principal if
   * it may have removed those of any. Answers in progress for that principal are then not cached.
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

/** Cached answers in the memory of this process. */
export interface LocalCache extends ResponseCache {
  readonly maxAnswerUnits: number;
  get(key: string): CachedAnswer | undefined;
  /** @param ttlMs the `ttlSeconds` of the cache unless given, in milliseconds. */
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
      // An index by principal would use memory for each answer, and `forget` is rare.
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
/**
 * One answer may use this share of the cache. The server keeps the text of an answer in memory until the
 * answer ends.
 */
const LARGEST_SHARE = 1 / 8;

/**
 * @returns the key of a provider's answer, a hash of the whole prompt. `principal` is undefined if all users
 * may receive the answer.
 */
export function cacheKey(
  principal: string | undefined,
  { name, model }: ModelName,
  prompt: Prompt,
): string {
  const parts = [principal ?? null, name, model, prompt];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
