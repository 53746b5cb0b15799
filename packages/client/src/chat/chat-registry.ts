import { clearChats, clientStores } from '../client.js';
import { randomId } from '../random-id.js';
import type { Client } from '../types.js';
import {
  type ChatStore,
  type ChatStoreOptions,
  createLocalChatStore,
  createMemoryChatStore,
} from './chat-store.js';
import type { ChatRecord, MessageRecord } from './records.js';

/** `chatId` is undefined if any chat may have changed; `writer` is the object of this page that changed it. */
export type ChangeListener = (chatId: string | undefined, writer: object | undefined) => void;

const MIN_SWEEP = 64;

/** The open chats and lists of one client and store. Each is notified of the changes of the others. */
export class ChatRegistry {
  /** Identifies this page as the owner of the questions that it has queued. */
  readonly pageId: string = randomId();
  readonly store: ChatStore;
  /** The chats that are still referenced, by id. */
  readonly #chats = new Map<string, WeakRef<object>>();
  #sweepAt = MIN_SWEEP;
  readonly #listeners = new Set<ChangeListener>();
  #unsubscribe = (): void => {};

  constructor(store: ChatStore) {
    this.store = store;
  }

  /** @returns the chat that was added with this id, if it is still referenced. */
  find(chatId: string): object | undefined {
    return this.#chats.get(chatId)?.deref();
  }

  add(chatId: string, chat: object): void {
    this.#chats.set(chatId, new WeakRef(chat));
    if (this.#chats.size < this.#sweepAt) return;
    for (const [id, chatRef] of this.#chats) if (!chatRef.deref()) this.#chats.delete(id);
    this.#sweepAt = Math.max(MIN_SWEEP, 2 * this.#chats.size);
  }

  /** @returns a function that removes the listener. */
  subscribe(listener: ChangeListener): () => void {
    if (this.#listeners.size === 0) {
      this.#unsubscribe = this.store.subscribe?.((chatId) => this.notify(chatId)) ?? (() => {});
    }
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#unsubscribe();
    };
  }

  notify(chatId: string | undefined, writer?: object): void {
    for (const listener of this.#listeners) listener(chatId, writer);
  }

  async write(
    chat: ChatRecord,
    messages: readonly MessageRecord[],
    writer?: object,
  ): Promise<void> {
    try {
      await this.store.write(chat, messages);
    } finally {
      this.notify(chat.id, writer);
    }
  }

  async remove(chatId: string, writer?: object): Promise<void> {
    await this.store.remove(chatId);
    this.notify(chatId, writer);
  }
}

const defaultStores = new WeakMap<Client, ChatStore>();
const registries = new WeakMap<Client, WeakMap<ChatStore, ChatRegistry>>();

/**
 * Creates the store that chats of this client use by default, with other limits. Create it once, and pass it to
 * `createChat` and `listChats`. For a client with `cache: false`, or with `auth` and no namespace, the store is in
 * memory.
 */
export function createChatStore(client: Client, options?: ChatStoreOptions): ChatStore {
  const store = clientStores.get(client);
  if (store !== undefined) return createLocalChatStore(store, options);
  const memory = createMemoryChatStore();
  const listeners = new Set<() => void>();
  const previousClear = clearChats.get(client);
  clearChats.set(client, async () => {
    await previousClear?.();
    for (const { id } of await memory.list()) await memory.remove(id);
    for (const listener of listeners) listener();
  });
  return {
    ...memory,
    subscribe(listener) {
      const notify = (): void => listener();
      listeners.add(notify);
      return () => listeners.delete(notify);
    },
  };
}

/** @returns the registry of the client and `customStore`, or of the client and its default store. */
export function chatRegistryOf(client: Client, customStore: ChatStore | undefined): ChatRegistry {
  const store = customStore ?? defaultStores.get(client) ?? createChatStore(client);
  if (customStore === undefined) defaultStores.set(client, store);
  const clientRegistries = registries.get(client) ?? new WeakMap<ChatStore, ChatRegistry>();
  registries.set(client, clientRegistries);
  const registry = clientRegistries.get(store) ?? new ChatRegistry(store);
  clientRegistries.set(store, registry);
  return registry;
}
