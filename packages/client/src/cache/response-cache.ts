import type { FinishReason, Usage } from '@rivulet/protocol';
import {
  clear,
  createStore,
  delMany,
  get,
  promisifyRequest,
  set,
  setMany,
  type UseStore,
} from 'idb-keyval';
import type { CacheOptions } from '../types.js';

/** A complete answer as it is kept, with who gave it. */
export interface KeptAnswer {
  text: string;
  provider: string;
  model: string;
  finishReason: FinishReason;
  usage: Usage;
  /** Milliseconds since 1970. */
  createdAt: number;
}

// An answer, and when it was last used (milliseconds since 1970), which eviction reads alone.
const BODY = 'b:';
const META = 'm:';

/** Complete answers in IndexedDB. Whatever fails there is a miss, or an answer that is not kept. */
export interface ResponseCache {
  get(key: string): Promise<KeptAnswer | undefined>;
  put(key: string, answer: KeptAnswer): Promise<void>;
  clear(): Promise<void>;
}

const DAY_SECONDS = 86_400;

export function createResponseCache({
  namespace = 'default',
  maxAgeSeconds = DAY_SECONDS,
  maxEntries = 500,
}: CacheOptions): ResponseCache {
  let opened: UseStore | undefined;

  /** Opened at the first use, so that nothing happens at import or on a server. */
  function store(): UseStore {
    return (opened ??= createStore(`rivulet:${namespace}`, 'answers'));
  }

  function touch(key: string): Promise<void> {
    return set(META + key, Date.now(), store());
  }

  async function sweep(): Promise<void> {
    const used = await store()('readonly', async (answers) => {
      const range = IDBKeyRange.bound(META, `${META}\uffff`);
      const keys = answers.getAllKeys(range) as IDBRequest<string[]>;
      const times = answers.getAll(range) as IDBRequest<number[]>;
      return Promise.all([promisifyRequest(keys), promisifyRequest(times)]);
    });
    const [keys, times] = used;
    const oldestFirst = keys.map((_, i) => i).sort((a, b) => times[a]! - times[b]!);
    const leaving = oldestFirst.slice(0, Math.max(0, keys.length - maxEntries));
    await remove(leaving.map((i) => keys[i]!.slice(META.length)));
  }

  async function remove(keys: string[]): Promise<void> {
    if (keys.length > 0)
      await delMany(
        keys.flatMap((key) => [BODY + key, META + key]),
        store(),
      );
  }

  return {
    async get(key) {
      try {
        const kept = await get<unknown>(BODY + key, store());
        if (kept === undefined) return undefined;
        if (!isKeptAnswer(kept) || Date.now() - kept.createdAt > maxAgeSeconds * 1000) {
          await remove([key]);
          return undefined;
        }
        touch(key).catch(() => {});
        return kept;
      } catch {
        return undefined;
      }
    },
    async put(key, answer) {
      try {
        await setMany(
          [
            [BODY + key, answer],
            [META + key, Date.now()],
          ],
          store(),
        );
        await sweep();
      } catch {
        // The answer is on the screen; that it is not kept costs one more question.
      }
    },
    clear: () => clear(store()),
  };
}

/** IndexedDB may hold what another version wrote, or another script. */
function isKeptAnswer(value: unknown): value is KeptAnswer {
  if (typeof value !== 'object' || value === null) return false;
  const { text, createdAt } = value as Partial<KeptAnswer>;
  return typeof text === 'string' && typeof createdAt === 'number';
}
