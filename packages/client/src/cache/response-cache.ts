import { byteLength } from '../byte-length.js';
import type { FinishReason, StreamStartRequest, Usage } from '@rivulet/protocol';
import { sha256 } from '../digest.js';
import type { CacheOptions } from '../types.js';
import type { LocalStore } from './local-store.js';

/** A complete answer as it is kept, with who gave it. */
export interface KeptAnswer {
  text: string;
  provider: string;
  model: string;
  finishReason: FinishReason;
  usage: Usage;
  /** The oldest messages that the model was not given; absent for none. */
  omittedMessages?: number;
  /** Milliseconds since 1970. */
  createdAt: number;
}

/** How an answer is to be kept. */
export interface Keeping {
  key: string;
  /** Milliseconds since 1970: what was asked before a `clear` is not kept after it. */
  askedAt: number;
  /** Whether it takes the place of one that came since. */
  replaces: boolean;
}

/** Complete answers of one user. Whatever fails is a miss, or an answer that is not kept. */
export interface ResponseCache {
  /** @returns the key under which the answer to `request` is kept. */
  keyOf(request: StreamStartRequest): Promise<string>;
  get(key: string): Promise<KeptAnswer | undefined>;
  put(keeping: Keeping, answer: KeptAnswer): Promise<void>;
  /** Removes what has expired, and the least recently used where there is too much. */
  sweep(): Promise<void>;
}

/** Kept beside each answer, so that who is to leave is found without reading the answers. */
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

  /** The least recently used first, and before them what cannot be read or is too old. */
  async function inOrderOfLeaving(): Promise<{ key: string; size: number; isGone: boolean }[]> {
    const metas = (await store.list(META)).map(([key, value]) => {
      const meta =
        isMeta(value) && isFresh(value) && store.isFresh(value.usedAt, Infinity)
          ? value
          : undefined;
      const { size = 0, usedAt = 0 } = meta ?? {};
      return { key: key.slice(META.length), size, usedAt, isGone: meta === undefined };
    });
    return metas.sort((a, b) => a.usedAt - b.usedAt);
  }

  async function sweep(): Promise<void> {
    const metas = await inOrderOfLeaving();
    let count = metas.length;
    let bytes = metas.reduce((sum, { size }) => sum + size, 0);
    const leaving = metas.filter(({ size, isGone }) => {
      if (!isGone && count <= maxEntries && bytes <= maxBytes) return false;
      count -= 1;
      bytes -= size;
      return true;
    });
    if (leaving.length > 0) await remove(leaving.map(({ key }) => key));
  }

  async function makeRoom(): Promise<void> {
    const metas = await inOrderOfLeaving();
    await remove(metas.slice(0, Math.ceil(metas.length / 4)).map(({ key }) => key));
  }

  return {
    keyOf: cacheKey,
    async get(key) {
      const kept = await store.get(BODY + key);
      if (kept === undefined) return undefined;
      if (isKeptAnswer(kept) && isFresh(kept)) {
        touch(key);
        return kept;
      }
      // Not awaited: a question must not wait for a disk that does not answer.
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
      // Another tab that read the same generation may have been first.
      const isThere = (present: unknown): boolean =>
        !replaces && isMeta(present) && isFresh(present) && present.createdAt >= askedAt;
      const write = (): Promise<void> =>
        store.write([META + key], askedAt, ([present]) => (isThere(present) ? [] : entries));
      await write()
        .catch((error: unknown) => {
          if (!(error instanceof Error) || error.name !== 'QuotaExceededError') throw error;
          return makeRoom().then(write);
        })
        .catch(() => store.remember(entries, askedAt));
      onPut();
    },
    sweep,
  };
}

/**
 * The key covers all that decides an answer: the question, its history and intent, the text that it continues, the
 * generation options. Thoughts are not kept. Where there is no SHA-256 the canonical text itself is the key.
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

function sizeOf(answer: KeptAnswer): number {
  return byteLength(JSON.stringify(answer));
}

/** The disk may hold what another version wrote, or another script. */
function isKeptAnswer(value: unknown): value is KeptAnswer {
  const { text, provider, model, createdAt } = Object(value) as Partial<KeptAnswer>;
  const isText = [text, provider, model].every((part) => typeof part === 'string');
  return isText && typeof createdAt === 'number';
}

function isMeta(value: unknown): value is Meta {
  const { size, createdAt, usedAt } = Object(value) as Partial<Meta>;
  return [size, createdAt, usedAt].every((number) => typeof number === 'number');
}
