import type { KeyValueStorage } from '@rivulet/client';

export interface TestStorage extends KeyValueStorage {
  readonly items: Map<string, string>;
  /** A storage with the same items, as the next page finds them if this one ends now. */
  copy(): TestStorage;
  /** The values of the keys that begin with `prefix` after the store's name, which ends in `]`. */
  valuesOf(prefix: string): unknown[];
}

/** A storage as AsyncStorage is one: each call takes a turn of the event loop. */
export function createStorage(items = new Map<string, string>()): TestStorage {
  const turn = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));
  return {
    items,
    copy: () => createStorage(new Map(items)),
    valuesOf: (prefix) =>
      [...items].flatMap(([key, item]) =>
        key.includes(`]${prefix}`) ? [JSON.parse(item) as unknown] : [],
      ),
    async getItem(key) {
      await turn();
      return items.get(key) ?? null;
    },
    async setItem(key, value) {
      await turn();
      items.set(key, value);
    },
    async removeItem(key) {
      await turn();
      items.delete(key);
    },
    async getAllKeys() {
      await turn();
      return [...items.keys()];
    },
  };
}
