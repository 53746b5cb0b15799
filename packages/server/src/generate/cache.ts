import { createHash } from 'node:crypto';
import type { Usage } from '@rivulet/protocol';
import { LRUCache } from 'lru-cache';
import type { Prompt, Provider } from './providers/provider.js';

/** A complete answer. */
export interface CachedAnswer {
  text: string;
  usage: Usage;
}

/** Complete answers by key. Whoever calls treats a throw as a miss. */
export interface ResponseCache {
  get(key: string): CachedAnswer | undefined;
  set(key: string, answer: CachedAnswer): void;
}

export interface ResponseCacheOptions {
  ttlSeconds: number;
  maxBytes: number;
}

export function createResponseCache({ ttlSeconds, maxBytes }: ResponseCacheOptions): ResponseCache {
  return new LRUCache<string, CachedAnswer>({
    maxSize: maxBytes,
    sizeCalculation: ({ text }, key) => 2 * (text.length + key.length) + 256,
    ttl: ttlSeconds * 1000,
  });
}

/** An answer is one principal's, and of the provider and model that gave it. */
export function cacheKey(
  principal: string | undefined,
  { name, model }: Provider,
  prompt: Prompt,
): string {
  const parts = [principal ?? null, name, model, prompt];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
