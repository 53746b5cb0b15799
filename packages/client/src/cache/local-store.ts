import { createStore, promisifyRequest, type UseStore } from 'idb-keyval';

type Entry = readonly [key: string, value: unknown];

/**
 * What this browser keeps for one user: in IndexedDB, and in memory what that does not take. Reading
 * never fails and never hangs: what cannot be read is not there.
 */
export interface LocalStore {
  get(key: string): Promise<unknown>;
  /** Every entry whose key begins with `prefix`. */
  list(prefix: string): Promise<Entry[]>;
  /**
   * Writes what `change` makes of what `key` has now, all of it or none: none if a `clear`, in any tab,
   * came after `askedAt` (milliseconds since 1970). Rejects as IndexedDB does.
   */
  write(key: string, askedAt: number, change: (present: unknown) => Entry[]): Promise<void>;
  /** Writes while the page goes away, when nothing can be looked at first. */
  writeLast(entry: Entry, askedAt: number): Promise<void>;
  /** Keeps in memory what IndexedDB would not take. */
  remember(entries: Entry[], askedAt: number): void;
  remove(keys: string[]): Promise<void>;
  /** Forgets everything, in every tab. Rejects if IndexedDB is there and does not. */
  clear(): Promise<void>;
  close(): void;
}

const CLEARED = 'cleared';
// Safari's IndexedDB at times never answers, and a page in the background may hold it up.
const READ_TIMEOUT_MS = 1_000;

export function createLocalStore(namespace: string): LocalStore {
  const name = `rivulet:${namespace}`;
  const memory = new Map<string, unknown>();
  let clearedAt = 0;
  let opened: UseStore | undefined;
  let tabs: BroadcastChannel | undefined;

  /** At the first use, so that nothing happens at import or on a server. */
  function open(): UseStore {
    if (opened === undefined) hearOtherTabs();
    return (opened = createStore(name, 'answers'));
  }

  function hearOtherTabs(): void {
    if (tabs !== undefined || typeof BroadcastChannel === 'undefined') return;
    tabs = new BroadcastChannel(name);
    tabs.addEventListener('message', ({ data }) => forget(Number(data)));
    // Node has them too, and would not end.
    (tabs as { unref?: () => void }).unref?.();
  }

  function forget(at: number): void {
    clearedAt = at;
    memory.clear();
  }

  function remember(entries: Entry[], askedAt: number): void {
    if (askedAt > clearedAt) for (const [key, value] of entries) memory.set(key, value);
  }

  async function run<T>(
    mode: IDBTransactionMode,
    use: (objects: IDBObjectStore) => T | Promise<T>,
  ): Promise<T> {
    try {
      return await (opened ?? open())(mode, use);
    } catch (error) {
      // Safari closes connections of its own accord, and does not always say so.
      if (!(error instanceof DOMException) || error.name !== 'InvalidStateError') throw error;
      return open()(mode, use);
    }
  }

  return {
    async get(key) {
      const read = (): Promise<unknown> =>
        run('readonly', (objects) => promisifyRequest(objects.get(key)));
      return memory.get(key) ?? orNothing(read());
    },
    async list(prefix) {
      const reading = run('readonly', (objects) => {
        const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
        const keys = objects.getAllKeys(range) as IDBRequest<string[]>;
        return Promise.all([promisifyRequest(keys), promisifyRequest(objects.getAll(range))]);
      });
      const [keys, values] = (await orNothing(reading)) ?? [[], []];
      const stored = keys.map((key, i): Entry => [key, values[i]]);
      return [...stored, ...[...memory].filter(([key]) => key.startsWith(prefix))];
    },
    async write(first, askedAt, change) {
      if (memory.has(first)) return remember(change(memory.get(first)), askedAt);
      await run('readwrite', (objects) => {
        if (askedAt <= clearedAt) return;
        const cleared = objects.get(CLEARED);
        const present = objects.get(first);
        // The later of the two requests, so that both have their results.
        present.onsuccess = () => {
          if (askedAt <= (Number(cleared.result) || 0)) return;
          for (const [key, value] of change(present.result)) objects.put(value, key);
        };
        return promisifyRequest(objects.transaction);
      });
    },
    writeLast: ([key, value], askedAt) =>
      run('readwrite', (objects) => {
        if (askedAt <= clearedAt) return;
        objects.put(value, key);
        objects.transaction.commit();
      }),
    remember,
    remove(keys) {
      for (const key of keys) memory.delete(key);
      return run('readwrite', (objects) => {
        for (const key of keys) objects.delete(key);
        return promisifyRequest(objects.transaction);
      });
    },
    async clear() {
      hearOtherTabs();
      const at = Date.now();
      forget(at);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has none
      tabs?.postMessage(at);
      // Where it does not open, it has nothing.
      if (!(await run('readonly', () => true).catch(() => false))) return;
      const clearIt = (leavesWord: boolean): Promise<unknown> =>
        run('readwrite', (objects) => {
          objects.clear();
          if (leavesWord) objects.put(at, CLEARED);
          return promisifyRequest(objects.transaction);
        });
      // A full disk may have no room even for the word.
      await clearIt(true).catch(() => clearIt(false));
    },
    close() {
      tabs?.close();
      tabs = undefined;
    },
  };
}

async function orNothing<T>(reading: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, READ_TIMEOUT_MS, undefined);
  });
  try {
    return await Promise.race([reading, late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
