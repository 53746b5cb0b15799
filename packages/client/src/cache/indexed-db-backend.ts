import { createStore, promisifyRequest, type UseStore } from 'idb-keyval';
import type { StorageBackend, Entry } from './local-store.js';

/** Entries in an IndexedDB database of this name, in its store `answers`. Opens it at the first use. */
export function createIndexedDbBackend(name: string): StorageBackend {
  let opened: UseStore | undefined;

  async function run<T>(
    mode: IDBTransactionMode,
    use: (objects: IDBObjectStore) => T | Promise<T>,
  ): Promise<T> {
    const open = (): UseStore => (opened = createStore(name, 'answers'));
    try {
      return await (opened ?? open())(mode, use);
    } catch (error) {
      // The error of an aborted transaction may be null.
      if ((error as Error | null)?.name === 'QuotaExceededError') throw error;
      // Safari may close the connection to the database without an event.
      return open()(mode, use);
    }
  }

  const change = (use: (objects: IDBObjectStore) => void): Promise<void> =>
    run('readwrite', (objects) => {
      use(objects);
      return promisifyRequest(objects.transaction);
    });

  return {
    get: (key) => run('readonly', (objects) => promisifyRequest(objects.get(key))),
    async list(prefix) {
      const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
      const [keys, values] = await run('readonly', (objects) => {
        const found = objects.getAllKeys(range) as IDBRequest<string[]>;
        return Promise.all([promisifyRequest(found), promisifyRequest(objects.getAll(range))]);
      });
      return keys.map((key, i) => [key, values[i]]);
    },
    update: (keys, changed) =>
      change((objects) => {
        const requests = keys.map((key) => objects.get(key));
        const last = requests.at(-1);
        const write = (): void =>
          put(objects, changed(requests.map(({ result }): unknown => result)));
        // Requests succeed in the order in which they were made.
        if (last) last.onsuccess = write;
        else write();
      }),
    async clear(entry) {
      // Without IndexedDB, or without access to it, there is nothing to remove.
      if (await run('readonly', () => false).catch(isDenied)) return;
      const clearIt = (entries: readonly Entry[]): Promise<void> =>
        change((objects) => {
          objects.clear();
          put(objects, entries);
        });
      // A full disk may have no room even for the entry.
      await clearIt([entry]).catch(() => clearIt([]));
    },
  };
}

/**
 * Commits, because in WebKit a transaction that is still open when the page enters the back/forward cache
 * locks the database.
 */
function put(objects: IDBObjectStore, entries: readonly Entry[]): void {
  for (const [key, value] of entries) {
    if (value === undefined) objects.delete(key);
    else objects.put(value, key);
  }
  objects.transaction.commit();
}

/** @returns true if the error says that there is no IndexedDB, or that the page has no access to it. */
export function isDenied(error: unknown): boolean {
  return /^(Reference|Type|Security)Error$/.test((error as Error | null)?.name as string);
}
