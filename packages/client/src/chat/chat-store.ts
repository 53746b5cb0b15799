import { isDenied } from '../cache/indexed-db-backend.js';
import type { Entry, LocalStore } from '../cache/local-store.js';
import {
  type ChatRecord,
  isOfNewerVersion,
  mergeChat,
  mergeMessage,
  type MessageRecord,
  newerVersionError,
  readChatRecord,
  readMessageRecord,
} from './records.js';

/** A chat with its messages, in any order. */
export interface StoredChat {
  readonly chat: ChatRecord;
  readonly messages: readonly MessageRecord[];
}

/**
 * Storage of chats. An app may implement a store of its own, for example over its database; `chatStoreTests` of
 * `@rivulet/client/testing` tests it. Records are plain JSON. A method rejects if the store fails; the chat then
 * continues in memory, and its snapshot has the error as `storeError`.
 */
export interface ChatStore {
  /** @returns every chat, in any order. */
  list(): Promise<readonly ChatRecord[]>;
  /** @returns undefined if there is no such chat. */
  read(chatId: string): Promise<StoredChat | undefined>;
  /**
   * Adds or replaces the chat and these messages; its other messages stay. An existing record is replaced by the
   * result of `mergeChat` or `mergeMessage`, so that two tabs that write at the same time lose nothing. Nothing is
   * written if the chat was removed after `chat.createdAt`.
   */
  write(chat: ChatRecord, messages: readonly MessageRecord[]): Promise<void>;
  /** Removes the chat and its messages. Has no effect if there is no such chat. */
  remove(chatId: string): Promise<void>;
  /**
   * Calls `listener` with the id of each chat that was written or removed elsewhere, such as in another tab, or
   * without an id if any chat may have changed. Changes by this object need no call.
   *
   * @returns a function that removes the listener.
   */
  subscribe?(listener: (chatId?: string) => void): () => void;
}

export interface ChatStoreOptions {
  /** The maximum number of chats; 200 by default. The least recently changed chat is removed first. */
  maxChats?: number | undefined;
  /** The maximum size of all chats, in UTF-16 units of JSON; 33,554,432 (64 MiB) by default. */
  maxUnits?: number | undefined;
  /** Seconds after its last change for which a chat is stored; 31,536,000 (a year) by default. */
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

/** Stores chats in the local store of a client. `cache.clear()` of the client removes them, too. */
export function createLocalChatStore(
  store: LocalStore,
  { maxChats = 200, maxUnits = MAX_UNITS, maxAgeSeconds = YEAR_SECONDS }: ChatStoreOptions = {},
): ChatStore {
  const listeners = new Set<(chatId?: string) => void>();
  /** The errors of chats that could not be written, by chat id. These chats are in memory only. */
  const failures = new Map<string, unknown>();
  const channelName = `${store.name}:chats`;
  let channel: BroadcastChannel | undefined;
  let removeClearListener = (): void => {};
  let isSwept = false;

  function notify(chatId?: string): void {
    for (const listener of listeners) listener(chatId);
  }

  function listenToOtherTabs(): void {
    removeClearListener = store.onClear(() => {
      failures.clear();
      notify();
    });
    try {
      channel = new BroadcastChannel(channelName);
      channel.addEventListener('message', ({ data }) => notify(String(data)));
      // In Node.js an open channel would keep the process running.
      (channel as { unref?: () => void }).unref?.();
    } catch {
      // The platform has no BroadcastChannel, or Firefox blocks it together with cookies.
    }
  }

  /** Notifies other tabs, also when this tab does not listen itself. */
  function notifyOtherTabs(chatId: string): void {
    try {
      const sender = channel ?? new BroadcastChannel(channelName);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has none
      sender.postMessage(chatId);
      if (sender !== channel) sender.close();
    } catch {
      // The platform has no BroadcastChannel, or Firefox blocks it together with cookies.
    }
  }

  async function listChats(): Promise<ChatRecord[]> {
    return (await store.list(HEAD)).flatMap(([, value]) => readHead(value) ?? []);
  }

  /** @returns undefined for a chat that another tab has cleared; the storage may still have it. */
  function readHead(value: unknown): ChatRecord | undefined {
    const chat = readChatRecord(value);
    if (chat === undefined) return undefined;
    // The clock may have been set back, so a chat may have a time in the future.
    const createdAt = Math.min(chat.createdAt, Date.now());
    return store.isFresh(createdAt, Infinity) ? chat : undefined;
  }

  /** Rejects if the disk cannot be read, unless there is none or the chat is in memory only. */
  function entriesOf(chatId: string): Promise<Entry[]> {
    return store.list(messageKey(chatId, ''), (error) => {
      if (!failures.has(chatId)) throwUnlessDenied(error);
    });
  }

  /** Removes a chat for every tab that has it open. */
  async function remove(chatId: string): Promise<void> {
    const removedAt = Date.now();
    const messages = (await entriesOf(chatId)).map(([key]) => key);
    const tombstone: Tombstone = { id: chatId, removedAt };
    // The storage may have an older state of a chat that is in memory.
    if (failures.delete(chatId)) await store.remove([headKey(chatId), ...messages]);
    await store.write([headKey(chatId)], removedAt, () => [
      [headKey(chatId), tombstone],
      ...messages.map((key) => [key] as const),
    ]);
    notifyOtherTabs(chatId);
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
    const newestFirst = (await listChats()).sort((a, b) => b.updatedAt - a.updatedAt);
    for (const chat of newestFirst) {
      count += 1;
      units += chat.units;
      // Negative after the clock was set back.
      const ageMs = Date.now() - chat.updatedAt;
      const isKept = count <= maxChats && units <= maxUnits && ageMs <= maxAgeSeconds * 1000;
      if (!isKept && chat.id !== openChatId) await remove(chat.id);
    }
  }

  /** Removes the oldest quarter of the other chats. */
  async function makeRoom(openChatId: string): Promise<void> {
    const others = (await listChats()).filter(({ id }) => id !== openChatId);
    others.sort((a, b) => a.updatedAt - b.updatedAt);
    for (const { id } of others.slice(0, Math.ceil(others.length / 4))) await remove(id);
  }

  /** @returns false if a newer version of the app has stored the chat; nothing is written then. */
  async function write(chat: ChatRecord, messages: readonly MessageRecord[]): Promise<boolean> {
    const keys = [headKey(chat.id), ...messages.map(({ id }) => messageKey(chat.id, id))];
    let isNewer = false;
    await store.write(keys, chat.createdAt, ([head, ...present]) => {
      isNewer = [head, ...present].some(isOfNewerVersion);
      if (isNewer) return [];
      const { removedAt = 0 } = Object(head) as Partial<Tombstone>;
      if (removedAt >= chat.createdAt) return [];
      const keptChat = readChatRecord(head);
      const merged = messages.map((message, i) => {
        const kept = readMessageRecord(present[i]);
        return [keys[i + 1]!, kept ? mergeMessage(kept, message) : message] as const;
      });
      return [[keys[0]!, keptChat ? mergeChat(keptChat, chat) : chat], ...merged];
    });
    return !isNewer;
  }

  return {
    list: listChats,
    async read(chatId) {
      const [head, entries] = await Promise.all([
        store.get(headKey(chatId), throwUnlessDenied),
        entriesOf(chatId),
      ]);
      if (isOfNewerVersion(head)) throw newerVersionError();
      const chat = readHead(head);
      if (chat === undefined) return undefined;
      return { chat, messages: entries.flatMap(([, value]) => readMessageRecord(value) ?? []) };
    },
    async write(chat, messages) {
      const isWritten = await write(chat, messages)
        .catch((error: unknown) => {
          if (!(error instanceof Error) || error.name !== 'QuotaExceededError') throw error;
          return makeRoom(chat.id).then(() => write(chat, messages));
        })
        .catch((error: unknown) => {
          // The page keeps the chat in memory.
          store.keepInMemory(
            [
              [headKey(chat.id), chat],
              ...messages.map((message) => [messageKey(chat.id, message.id), message] as const),
            ],
            chat.createdAt,
          );
          failures.set(chat.id, error);
          return true;
        });
      if (!isWritten) throw newerVersionError();
      notifyOtherTabs(chat.id);
      if (failures.has(chat.id)) throw failures.get(chat.id);
      if (isSwept) return;
      isSwept = true;
      sweep(chat.id).catch(() => {});
    },
    remove,
    subscribe(listener) {
      if (listeners.size === 0) listenToOtherTabs();
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        channel?.close();
        channel = undefined;
        removeClearListener();
      };
    },
  };
}

/** Creates a store in memory: its chats are lost when the page is closed. */
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

/** Without IndexedDB, or without access to it, a chat is in memory only. */
function throwUnlessDenied(error: unknown): undefined {
  if (!isDenied(error)) throw error;
}

function headKey(chatId: string): string {
  return HEAD + chatId;
}

/** The key includes the length, because an id may be the beginning of another one and may have colons. */
function messageKey(chatId: string, messageId: string): string {
  return `${MESSAGE}${chatId.length}:${chatId}:${messageId}`;
}
