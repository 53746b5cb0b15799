import type { KeyValueStorage } from '../types.js';
import { createIndexedDbBackend } from './indexed-db-backend.js';
import { createKeyValueBackend } from './key-value-backend.js';

/** An entry that is written with the value `undefined` is removed. */
export type Entry = readonly [key: string, value?: unknown];

/** Storage that outlives the page. Each method rejects if the browser's storage does. */
export interface StorageBackend {
  get(key: string): Promise<unknown>;
  /** Every entry whose key begins with `prefix`. */
  list(prefix: string): Promise<Entry[]>;
  /**
   * Passes the present values of `keys` to `change` and writes the entries that it returns, as one
   * transaction. With no keys it writes at once, which also works while the page is being unloaded.
   */
  update(keys: string[], change: (present: unknown[]) => readonly Entry[]): Promise<void>;
  /** Removes everything, then writes `entry` if there is room for it. */
  clear(entry: Entry): Promise<void>;
}

/**
 * The storage of one user of one server in this browser: on disk, and in memory for entries that the disk
 * refused. A read fails after 1 s. A failed read calls `onError`, and rejects if that throws; otherwise, and without
 * `onError`, an entry that cannot be read counts as missing.
 */
export interface LocalStore {
  /** Unique for the server and the namespace. */
  readonly name: string;
  get(key: string, onError?: OnReadError): Promise<unknown>;
  /** Every entry whose key begins with `prefix`. */
  list(prefix: string, onError?: OnReadError): Promise<Entry[]>;
  /**
   * Passes the present values of `keys` to `change` and writes the entries that it returns, as one
   * transaction. Writes nothing if any tab called `clear` after `askedAt` (milliseconds since 1970).
   * Rejects if the disk does.
   */
  write(
    keys: readonly string[],
    askedAt: number,
    change: (present: unknown[]) => readonly Entry[],
  ): Promise<void>;
  /** Writes while the page is being unloaded, when nothing can be read first. */
  writeOnUnload(entry: Entry, askedAt: number): Promise<void>;
  /** Keeps entries in memory that the disk refused. */
  keepInMemory(entries: Entry[], askedAt: number): void;
  remove(keys: string[]): Promise<void>;
  /**
   * @returns true if `at` (milliseconds since 1970) is at most `maxAgeMs` ago, is not followed by a
   * `clear`, and is not in the future. A time in the future comes from a wrong clock, so the age is unknown.
   */
  isFresh(at: number, maxAgeMs: number): boolean;
  /** Calls `listener` after each `clear` in any tab. @returns a function that removes the listener. */
  onClear(listener: () => void): () => void;
  /** Removes everything, in every tab, within 5 s. Rejects if entries may still be on disk. */
  clear(): Promise<void>;
  close(): void;
}

type OnReadError = (error: unknown) => undefined;

const CLEARED = 'cleared';
// Safari's IndexedDB sometimes never responds, and a page in the background may block it.
const READ_TIMEOUT_MS = 1_000;
const CLEAR_TIMEOUT_MS = 4_500;
/** All tabs of a browser share one clock; a correction of the clock moves it by seconds. */
const CLOCK_TOLERANCE_MS = 60_000;

/** `onFirstUse` is called once, at the first read or write: nothing happens at import or on a server. */
export function createLocalStore(
  name: string,
  storage: KeyValueStorage | undefined,
  onFirstUse: () => void,
): LocalStore {
  const backend = storage ? createKeyValueBackend(name, storage) : createIndexedDbBackend(name);
  const memory = new Map<string, unknown>();
  const clearListeners = new Set<() => void>();
  let clearedAt = 0;
  let isUsed = false;
  let channel: BroadcastChannel | undefined;

  function open(): StorageBackend {
    if (!isUsed) {
      isUsed = true;
      listenToOtherTabs();
      onFirstUse();
    }
    return backend;
  }

  function listenToOtherTabs(): void {
    try {
      if (channel !== undefined) return;
      channel = new BroadcastChannel(name);
      channel.addEventListener('message', ({ data }) => onCleared(Number(data)));
      // In Node.js an open channel would keep the process running.
      (channel as { unref?: () => void }).unref?.();
    } catch {
      // The platform has no BroadcastChannel, or Firefox blocks it together with cookies.
    }
  }

  function onCleared(at: number): void {
    clearedAt = at;
    memory.clear();
    for (const listener of clearListeners) listener();
  }

  function keepInMemory(entries: readonly Entry[], askedAt: number): void {
    if (isCleared(askedAt, clearedAt)) return;
    for (const [key, value] of entries) {
      if (value === undefined) memory.delete(key);
      else memory.set(key, value);
    }
  }

  return {
    name,
    get: async (key, onError) => memory.get(key) ?? read(open().get(key), onError),
    async list(prefix, onError) {
      const stored = (await read(open().list(prefix), onError)) ?? [];
      const remembered = [...memory].filter(([key]) => key.startsWith(prefix));
      // The value of an entry in memory wins over that on disk.
      return [...new Map([...stored, ...remembered] as [string, unknown][])];
    },
    async write(keys, askedAt, change) {
      if (memory.has(keys[0] ?? '')) {
        return keepInMemory(change(keys.map((key) => memory.get(key))), askedAt);
      }
      await open().update([CLEARED, ...keys], ([storedClearedAt, ...present]) =>
        isCleared(askedAt, clearedAt) || isCleared(askedAt, Number(storedClearedAt))
          ? []
          : change(present),
      );
    },
    async writeOnUnload(entry, askedAt) {
      if (!isCleared(askedAt, clearedAt)) await open().update([], () => [entry]);
    },
    keepInMemory,
    remove(keys) {
      for (const key of keys) memory.delete(key);
      return open().update([], () => keys.map((key) => [key]));
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
      listenToOtherTabs();
      const at = Date.now();
      onCleared(at);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has none
      channel?.postMessage(at);
      await withTimeout(CLEAR_TIMEOUT_MS, backend.clear([CLEARED, at]));
    },
    close() {
      isUsed = true;
      channel?.close();
      channel = undefined;
    },
  };
}

/** @returns true if a `clear` came after `askedAt`. A `clear` in the future comes from a wrong clock and is ignored. */
function isCleared(askedAt: number, clearedAt: number): boolean {
  return askedAt <= clearedAt && clearedAt <= Date.now() + CLOCK_TOLERANCE_MS;
}

function read<T>(
  reading: Promise<T>,
  onError: OnReadError = () => undefined,
): Promise<T | undefined> {
  return withTimeout(READ_TIMEOUT_MS, reading).catch(onError);
}

/** @throws {Error} if `work` has not settled in time. */
function withTimeout<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('unable to use the store: timed out')), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
