import type { LocalStore } from '../cache/local-store.js';
import {
  type ChatRecord,
  mergeChat,
  mergeMessage,
  type MessageRecord,
  readChatRecord,
  readMessageRecord,
} from './records.js';

/** A chat with its messages, in any order. */
export interface StoredChat {
  readonly chat: ChatRecord;
  readonly messages: readonly MessageRecord[];
}

/**
 * Keeps chats. An app may give a store of its own, such as over its database; `chatStoreTests` of
 * `@rivulet/client/testing` says whether it does what chats need. Records are plain JSON. A method rejects if
 * the store fails; the chat then goes on in memory, and its snapshot says so.
 */
export interface ChatStore {
  /** Every chat, in any order. */
  list(): Promise<readonly ChatRecord[]>;
  /** @returns undefined if there is no such chat. */
  read(chatId: string): Promise<StoredChat | undefined>;
  /**
   * Adds or replaces the chat and these messages; its other messages stay. Where a record is there already, the
   * result of `mergeChat` or `mergeMessage` is kept, so that two tabs that write at once lose nothing. Nothing
   * is written if the chat was removed after `chat.createdAt`.
   */
  write(chat: ChatRecord, messages: readonly MessageRecord[]): Promise<void>;
  remove(chatId: string): Promise<void>;
  /**
   * Calls `listener` with the id of each chat that was written or removed elsewhere, such as in another tab, or
   * without an id if that may be any. Calls for changes by this object are not needed.
   *
   * @returns a function that ends it.
   */
  subscribe?(listener: (chatId?: string) => void): () => void;
}

export interface ChatStoreOptions {
  /** Chats kept; the one that was changed least recently leaves first. 200 unless given. */
  maxChats?: number | undefined;
  /** UTF-16 units of the messages of all chats, as JSON; 33,554,432 (64 MiB) unless given. */
  maxUnits?: number | undefined;
  /** Seconds after its last change that a chat is kept; a year unless given. */
  maxAgeSeconds?: number | undefined;
}

/** Marks a chat as removed, as long as another tab may still write it. */
interface Tombstone {
  readonly id: string;
  readonly removedAt: number;
}

const HEAD = 'c:';
const MESSAGE = 'n:';
const MAX_UNITS = 33_554_432;
const YEAR_SECONDS = 31_536_000;
const TOMBSTONE_MS = 86_400_000;

/** Chats in what a client keeps in this browser. `cache.clear()` of the client removes them, too. */
export function createLocalChatStore(
  store: LocalStore,
  { maxChats = 200, maxUnits = MAX_UNITS, maxAgeSeconds = YEAR_SECONDS }: ChatStoreOptions = {},
): ChatStore {
  const listeners = new Set<(chatId?: string) => void>();
  /** Why the disk did not take a chat. From then on it is in memory. */
  const failures = new Map<string, unknown>();
  const channelName = `${store.name}:chats`;
  let tabs: BroadcastChannel | undefined;
  let forgetClears = (): void => {};
  let isSwept = false;

  function tell(chatId?: string): void {
    for (const listener of listeners) listener(chatId);
  }

  function hearOtherTabs(): void {
    forgetClears = store.onClear(() => {
      failures.clear();
      tell();
    });
    try {
      tabs = new BroadcastChannel(channelName);
      tabs.addEventListener('message', ({ data }) => tell(String(data)));
      // Node has them too, and would not end.
      (tabs as { unref?: () => void }).unref?.();
    } catch {
      // There is none, or Firefox blocks it together with cookies.
    }
  }

  /** Tells other tabs, also when this one does not listen. */
  function told(chatId: string): void {
    try {
      const channel = tabs ?? new BroadcastChannel(channelName);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has none
      channel.postMessage(chatId);
      if (channel !== tabs) channel.close();
    } catch {
      // There is none, or Firefox blocks it together with cookies.
    }
  }

  async function heads(): Promise<ChatRecord[]> {
    return (await store.list(HEAD)).flatMap(([, value]) => readHead(value) ?? []);
  }

  /** The disk may still have what was cleared in another tab a moment ago. */
  function readHead(value: unknown): ChatRecord | undefined {
    const chat = readChatRecord(value);
    return chat && store.isFresh(chat.createdAt, Infinity) ? chat : undefined;
  }

  async function keysOf(chatId: string): Promise<string[]> {
    return (await store.list(messageKey(chatId, ''))).map(([key]) => key);
  }

  /** Removes a chat for every tab that has it open. */
  async function remove(chatId: string): Promise<void> {
    const removedAt = Date.now();
    const messages = await keysOf(chatId);
    const tombstone: Tombstone = { id: chatId, removedAt };
    // The disk may have an older state of what is in memory.
    if (failures.delete(chatId)) await store.remove([headKey(chatId), ...messages]);
    await store.write([headKey(chatId)], removedAt, () => [
      [headKey(chatId), tombstone],
      ...messages.map((key) => [key] as const),
    ]);
    told(chatId);
  }

  async function sweep(openChatId?: string): Promise<void> {
    const entries = await store.list(HEAD);
    const old = entries.filter(([, value]) => {
      const { removedAt } = Object(value) as Partial<Tombstone>;
      return typeof removedAt === 'number' && !store.isFresh(removedAt, TOMBSTONE_MS);
    });
    if (old.length > 0) await store.remove(old.map(([key]) => key));
    let count = 0;
    let units = 0;
    const newestFirst = (await heads()).sort((a, b) => b.updatedAt - a.updatedAt);
    for (const chat of newestFirst) {
      count += 1;
      units += chat.units;
      const isKept =
        count <= maxChats &&
        units <= maxUnits &&
        store.isFresh(chat.updatedAt, maxAgeSeconds * 1000);
      if (!isKept && chat.id !== openChatId) await remove(chat.id);
    }
  }

  /** Removes the oldest quarter of the other chats. */
  async function makeRoom(openChatId: string): Promise<void> {
    const others = (await heads()).filter(({ id }) => id !== openChatId);
    others.sort((a, b) => a.updatedAt - b.updatedAt);
    for (const { id } of others.slice(0, Math.ceil(others.length / 4))) await remove(id);
  }

  function write(chat: ChatRecord, messages: readonly MessageRecord[]): Promise<void> {
    const keys = [headKey(chat.id), ...messages.map(({ id }) => messageKey(chat.id, id))];
    return store.write(keys, chat.createdAt, ([head, ...present]) => {
      const { removedAt = 0 } = Object(head) as Partial<Tombstone>;
      if (removedAt >= chat.createdAt) return [];
      const keptChat = readChatRecord(head);
      const merged = messages.map((message, i) => {
        const kept = readMessageRecord(present[i]);
        return [keys[i + 1]!, kept ? mergeMessage(kept, message) : message] as const;
      });
      return [[keys[0]!, keptChat ? mergeChat(keptChat, chat) : chat], ...merged];
    });
  }

  return {
    list: heads,
    async read(chatId) {
      const [head, entries] = await Promise.all([
        store.get(headKey(chatId)),
        store.list(messageKey(chatId, '')),
      ]);
      const chat = readHead(head);
      if (chat === undefined) return undefined;
      return { chat, messages: entries.flatMap(([, value]) => readMessageRecord(value) ?? []) };
    },
    async write(chat, messages) {
      await write(chat, messages)
        .catch((error: unknown) => {
          if (!(error instanceof Error) || error.name !== 'QuotaExceededError') throw error;
          return makeRoom(chat.id).then(() => write(chat, messages));
        })
        .catch((error: unknown) => {
          // This page goes on with it in memory.
          store.remember(
            [
              [headKey(chat.id), chat],
              ...messages.map((message) => [messageKey(chat.id, message.id), message] as const),
            ],
            chat.createdAt,
          );
          failures.set(chat.id, error);
        });
      told(chat.id);
      if (failures.has(chat.id)) throw failures.get(chat.id);
      if (isSwept) return;
      isSwept = true;
      sweep(chat.id).catch(() => {});
    },
    remove,
    subscribe(listener) {
      if (listeners.size === 0) hearOtherTabs();
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        tabs?.close();
        tabs = undefined;
        forgetClears();
      };
    },
  };
}

/** Chats in memory, as long as the page. */
export function createMemoryChatStore(): ChatStore {
  const chats = new Map<string, { chat: ChatRecord; messages: Map<string, MessageRecord> }>();
  const removed = new Map<string, number>();

  return {
    list: async () => [...chats.values()].map(({ chat }) => chat),
    async read(chatId) {
      const found = chats.get(chatId);
      return found && { chat: found.chat, messages: [...found.messages.values()] };
    },
    async write(chat, given) {
      if ((removed.get(chat.id) ?? 0) >= chat.createdAt) return;
      const kept = chats.get(chat.id);
      const messages = kept?.messages ?? new Map<string, MessageRecord>();
      for (const message of given) {
        const before = messages.get(message.id);
        messages.set(message.id, before ? mergeMessage(before, message) : message);
      }
      chats.set(chat.id, { chat: kept ? mergeChat(kept.chat, chat) : chat, messages });
    },
    async remove(chatId) {
      chats.delete(chatId);
      removed.set(chatId, Date.now());
    },
  };
}

function headKey(chatId: string): string {
  return HEAD + chatId;
}

/** The length is there because an id may begin as another one, and may have colons. */
function messageKey(chatId: string, messageId: string): string {
  return `${MESSAGE}${chatId.length}:${chatId}:${messageId}`;
}
