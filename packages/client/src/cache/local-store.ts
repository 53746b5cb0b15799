import type { KeyValueStorage } from '../types.js';
import { createIndexedDbDisk } from './indexed-db.js';
import { createStorageDisk } from './storage.js';

/** An entry that is written with the value `undefined` is removed. */
export type Entry = readonly [key: string, value?: unknown];

/** Where entries outlive the page. Each method rejects as the browser or the storage does. */
export interface Disk {
  get(key: string): Promise<unknown>;
  /** Every entry whose key begins with `prefix`. */
  list(prefix: string): Promise<Entry[]>;
  /**
   * Writes all that `change` makes of the present values of `keys`. No other update comes between. Without
   * keys it writes at once, so that it works while the page goes away.
   */
  update(keys: string[], change: (present: unknown[]) => readonly Entry[]): Promise<void>;
  /** Removes everything, then writes `entry` if there is room for it. */
  clear(entry: Entry): Promise<void>;
}

/**
 * What this browser keeps for one user of one server: on disk, and in memory what the disk does not
 * take. Reading never fails and never hangs: what cannot be read is not there.
 */
export interface LocalStore {
  /** Names the server and the namespace. */
  readonly name: string;
  get(key: string): Promise<unknown>;
  /** Every entry whose key begins with `prefix`. */
  list(prefix: string): Promise<Entry[]>;
  /**
   * Writes what `change` makes of the present values of `keys`, all of it or none: none if a `clear`, in
   * any tab, came after `askedAt` (milliseconds since 1970). Rejects as the disk does.
   */
  write(
    keys: readonly string[],
    askedAt: number,
    change: (present: unknown[]) => readonly Entry[],
  ): Promise<void>;
  /** Writes while the page goes away, when nothing can be read first. */
  writeLast(entry: Entry, askedAt: number): Promise<void>;
  /** Keeps in memory what the disk did not take. */
  remember(entries: Entry[], askedAt: number): void;
  remove(keys: string[]): Promise<void>;
  /**
   * @returns true if `at` (milliseconds since 1970) is at most `maxAgeMs` ago, was not followed by a
   * `clear`, and is not in the future: then a clock was wrong, and nothing is known of the age.
   */
  isFresh(at: number, maxAgeMs: number): boolean;
  /** Calls `listener` after each `clear`, in any tab. @returns a function that ends it. */
  onClear(listener: () => void): () => void;
  /** Forgets everything, in every tab, within 5 s. Rejects if the disk may still have it. */
  clear(): Promise<void>;
  close(): void;
}

const CLEARED = 'cleared';
// Safari's IndexedDB at times never answers, and a page in the background may hold it up.
const READ_TIMEOUT_MS = 1_000;
const CLEAR_TIMEOUT_MS = 4_500;
/** Clocks of one browser do not differ; a clock that is corrected moves by seconds. */
const CLOCK_TOLERANCE_MS = 60_000;

/** `onFirstUse` is called once, so that nothing happens at import or on a server. */
export function createLocalStore(
  name: string,
  storage: KeyValueStorage | undefined,
  onFirstUse: () => void,
): LocalStore {
  const disk = storage ? createStorageDisk(name, storage) : createIndexedDbDisk(name);
  const memory = new Map<string, unknown>();
  const clearListeners = new Set<() => void>();
  let clearedAt = 0;
  let isUsed = false;
  let tabs: BroadcastChannel | undefined;

  function use(): Disk {
    if (!isUsed) {
      isUsed = true;
      hearOtherTabs();
      onFirstUse();
    }
    return disk;
  }

  function hearOtherTabs(): void {
    try {
      if (tabs !== undefined) return;
      tabs = new BroadcastChannel(name);
      tabs.addEventListener('message', ({ data }) => forget(Number(data)));
      // Node has them too, and would not end.
      (tabs as { unref?: () => void }).unref?.();
    } catch {
      // There is none, or Firefox blocks it together with cookies.
    }
  }

  function forget(at: number): void {
    clearedAt = at;
    memory.clear();
    for (const listener of clearListeners) listener();
  }

  function remember(entries: readonly Entry[], askedAt: number): void {
    if (isCleared(askedAt, clearedAt)) return;
    for (const [key, value] of entries) {
      if (value === undefined) memory.delete(key);
      else memory.set(key, value);
    }
  }

  return {
    name,
    get: async (key) => memory.get(key) ?? orNothing(use().get(key)),
    async list(prefix) {
      const stored = (await orNothing(use().list(prefix))) ?? [];
      const remembered = [...memory].filter(([key]) => key.startsWith(prefix));
      return [
        ...new Map<string, unknown>([...stored.map(([k, v]) => [k, v] as const), ...remembered]),
      ];
    },
    async write(keys, askedAt, change) {
      if (memory.has(keys[0] ?? '')) {
        return remember(change(keys.map((key) => memory.get(key))), askedAt);
      }
      await use().update([CLEARED, ...keys], ([cleared, ...present]) =>
        isCleared(askedAt, clearedAt) || isCleared(askedAt, Number(cleared)) ? [] : change(present),
      );
    },
    async writeLast(entry, askedAt) {
      if (!isCleared(askedAt, clearedAt)) await use().update([], () => [entry]);
    },
    remember,
    remove(keys) {
      for (const key of keys) memory.delete(key);
      return use().update([], () => keys.map((key) => [key]));
    },
    isFresh(at, maxAgeMs) {
      const ageMs = Date.now() - at;
      return ageMs >= -CLOCK_TOLERANCE_MS && ageMs <= maxAgeMs && !isCleared(at, clearedAt);
    },
    onClear(listener) {
      clearListeners.add(listener);
      return () => clearListeners.delete(listener);
    },
    async clear() {
      hearOtherTabs();
      const at = Date.now();
      forget(at);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has none
      tabs?.postMessage(at);
      await within(CLEAR_TIMEOUT_MS, disk.clear([CLEARED, at]));
    },
    close() {
      isUsed = true;
      tabs?.close();
      tabs = undefined;
    },
  };
}

/** @returns true if what was asked at `askedAt` is not kept. A `clear` in the future is none. */
function isCleared(askedAt: number, clearedAt: number): boolean {
  return askedAt <= clearedAt && clearedAt <= Date.now() + CLOCK_TOLERANCE_MS;
}

function orNothing<T>(reading: Promise<T>): Promise<T | undefined> {
  return within(READ_TIMEOUT_MS, reading).catch(() => undefined);
}

/** @throws {Error} if `work` has not settled in time. */
function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('unable to use the store: timed out')), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
