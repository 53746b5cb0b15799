import { chatClears, clientStores } from '../client.js';
import { randomId } from '../random-id.js';
import type { Client } from '../types.js';
import {
  type ChatStore,
  type ChatStoreOptions,
  createLocalChatStore,
  createMemoryChatStore,
} from './chat-store.js';
import type { ChatRecord, MessageRecord } from './records.js';

/** `chatId` is undefined if any chat may have changed; `writer` is what changed it in this page. */
export type ChangeListener = (chatId: string | undefined, writer: object | undefined) => void;

const MIN_SWEEP = 64;

/** Connects the chats and lists of one client and store, and notifies each of the others' changes. */
export class ChatHub {
  /** Names this page as the one that asks what it has queued. */
  readonly owner: string = randomId();
  readonly store: ChatStore;
  /** Every chat that something still refers to, by id. */
  readonly #chats = new Map<string, WeakRef<object>>();
  #sweepAt = MIN_SWEEP;
  readonly #listeners = new Set<ChangeListener>();
  #unsubscribe = (): void => {};

  constructor(store: ChatStore) {
    this.store = store;
  }

  /** @returns the chat with this id that `add` was given, if anything still refers to it. */
  find(chatId: string): object | undefined {
    return this.#chats.get(chatId)?.deref();
  }

  add(chatId: string, chat: object): void {
    this.#chats.set(chatId, new WeakRef(chat));
    if (this.#chats.size < this.#sweepAt) return;
    for (const [id, chatRef] of this.#chats) if (!chatRef.deref()) this.#chats.delete(id);
    this.#sweepAt = Math.max(MIN_SWEEP, 2 * this.#chats.size);
  }

  /** @returns a function that ends it. */
  subscribe(listener: ChangeListener): () => void {
    if (this.#listeners.size === 0) {
      this.#unsubscribe = this.store.subscribe?.((chatId) => this.changed(chatId)) ?? (() => {});
    }
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#unsubscribe();
    };
  }

  changed(chatId: string | undefined, writer?: object): void {
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
      this.changed(chat.id, writer);
    }
  }

  async remove(chatId: string, writer?: object): Promise<void> {
    await this.store.remove(chatId);
    this.changed(chatId, writer);
  }
}

const ownStores = new WeakMap<Client, ChatStore>();
const hubs = new WeakMap<Client, WeakMap<ChatStore, ChatHub>>();

/**
 * The store that chats of this client use unless they are given another one, with other limits. Create it once, and
 * give it to `createChat` and `listChats`. Where the client keeps nothing, chats are in memory.
 */
export function createChatStore(client: Client, options?: ChatStoreOptions): ChatStore {
  const store = clientStores.get(client);
  if (store !== undefined) return createLocalChatStore(store, options);
  const memory = createMemoryChatStore();
  const listeners = new Set<() => void>();
  const clearBefore = chatClears.get(client);
  chatClears.set(client, async () => {
    await clearBefore?.();
    for (const { id } of await memory.list()) await memory.remove(id);
    for (const listener of listeners) listener();
  });
  return {
    ...memory,
    subscribe(listener) {
      const tell = (): void => listener();
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
  };
}

/** @returns the one hub of the client and `given`, or of the client and its own store. */
export function chatHubOf(client: Client, given: ChatStore | undefined): ChatHub {
  const store = given ?? ownStores.get(client) ?? createChatStore(client);
  if (given === undefined) ownStores.set(client, store);
  const ofClient = hubs.get(client) ?? new WeakMap<ChatStore, ChatHub>();
  hubs.set(client, ofClient);
  const hub = ofClient.get(store) ?? new ChatHub(store);
  ofClient.set(store, hub);
  return hub;
}
