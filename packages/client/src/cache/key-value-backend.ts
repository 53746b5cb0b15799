import type { KeyValueStorage } from '../types.js';
import type { StorageBackend, Entry } from './local-store.js';

/** Entries as JSON in `storage`, under keys that begin with `name`. */
export function createKeyValueBackend(name: string, storage: KeyValueStorage): StorageBackend {
  /** One update that is under way must not mix with the next. */
  let last: Promise<void> = Promise.resolve();

  function enqueue(work: () => Promise<void>): Promise<void> {
    return (last = last.then(work, work));
  }

  async function get(key: string): Promise<unknown> {
    const json = (await storage.getItem(name + key)) ?? '';
    try {
      return JSON.parse(json);
    } catch {
      return undefined;
    }
  }

  async function keysOf(prefix: string): Promise<string[]> {
    const keys = await storage.getAllKeys();
    return keys.flatMap((key) => (key.startsWith(name + prefix) ? key.slice(name.length) : []));
  }

  async function put(entries: readonly Entry[]): Promise<void> {
    for (const [key, value] of entries) {
      if (value === undefined) await storage.removeItem(name + key);
      else await storage.setItem(name + key, JSON.stringify(value));
    }
  }

  return {
    get,
    async list(prefix) {
      // AsyncStorage on Android cannot read an entry that is too long; the others are listed.
      const entries = (await keysOf(prefix)).map(
        async (key) => [key, await get(key).catch(() => undefined)] as const,
      );
      return Promise.all(entries);
    },
    update: (keys, change) =>
      enqueue(async () => put(change(await Promise.all(keys.map((key) => get(key)))))),
    clear: (entry) =>
      enqueue(async () => put([...(await keysOf('')).map((key) => [key] as const), entry])),
  };
}
