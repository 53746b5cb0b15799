import {
  type ChatRecord,
  type ChatStore,
  type ChatStoreOptions,
  createChatStore,
  createMemoryChatStore,
  type MessageRecord,
} from '@rivulet/client/chat';
import { chatStoreTests } from '@rivulet/client/testing';
import { describe, expect, it, vi } from 'vitest';
import { openPage } from '../harness/chat.js';
import { sdk } from '../harness/sdk.js';
import { createStorage } from '../harness/storage.js';

const storage = createStorage();
const memory = createMemoryChatStore();

function chatRecord(id: string, updatedAt: number): ChatRecord {
  const times = { createdAt: updatedAt, updatedAt, titledAt: 0, draftAt: 0 };
  return { version: 1, id, title: id, draft: '', units: 100, ...times };
}

function questionRecord(chatId: string, id = 'q'): MessageRecord {
  const common = { version: 1, id, chatId, createdAt: 1, updatedAt: 1, selectedAt: 1 };
  const question = { role: 'user', text: 'What?', status: 'sent', owner: '', request: {} } as const;
  return { ...common, ...question, isRemoved: false } as MessageRecord;
}

describe.each<[string, () => ChatStore]>([
  ['memory', () => memory],
  ['what the client keeps', () => createChatStore(openPage('http://127.0.0.1:1', storage))],
])('a chat store in %s', (_, createStore) => {
  it.each(chatStoreTests(createStore))('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});

/** Each has one fault that an app's store may have. */
const FAULTS: Record<string, (store: ChatStore) => Partial<ChatStore>> = {
  'does not merge': (store) => {
    const replaced = new Map<string, Parameters<ChatStore['write']>>();
    return {
      async write(chat, messages) {
        const [, before = []] = replaced.get(chat.id) ?? [];
        const ids = new Set(messages.map(({ id }) => id));
        replaced.set(chat.id, [chat, [...before.filter(({ id }) => !ids.has(id)), ...messages]]);
        await store.write(chat, messages);
      },
      async read(chatId) {
        const [chat, messages] = replaced.get(chatId) ?? [];
        return chat && messages && { chat, messages };
      },
    };
  },
  'forgets other messages': (store) => ({
    async read(chatId) {
      const stored = await store.read(chatId);
      return stored && { ...stored, messages: stored.messages.slice(-1) };
    },
  }),
  'brings back what was removed': (store) => ({
    write: (chat, messages) => store.write({ ...chat, createdAt: Number.MAX_VALUE }, messages),
  }),
  'does not remove': () => ({ remove: async () => {} }),
  'does not list': () => ({ list: async () => [] }),
  'confuses ids': (store) => ({
    read: (chatId) => store.read(chatId.split(':', 1)[0] ?? ''),
    write: (chat, messages) =>
      store.write({ ...chat, id: chat.id.split(':', 1)[0] ?? '' }, messages),
  }),
};

describe('the tests of a chat store', () => {
  it.each(Object.keys(FAULTS))('fail for one that %s', async (fault) => {
    const store = createMemoryChatStore();
    const faulty = { ...store, ...FAULTS[fault]?.(store) };
    const results = await Promise.allSettled(chatStoreTests(() => faulty).map(({ run }) => run()));
    expect(results.some(({ status }) => status === 'rejected')).toBe(true);
  });
});

/** A store of `count` chats, the one with the highest number changed last. */
async function filled(count: number, options: ChatStoreOptions) {
  const own = createStorage();
  const page = openPage('http://127.0.0.1:1', own);
  const store = createChatStore(page, options);
  const day = (n: number): number => Date.now() - (count - n) * 86_400_000;
  const add = (n: number): Promise<void> =>
    store.write(chatRecord(`c${n}`, day(n)), [questionRecord(`c${n}`)]);
  for (let n = 1; n < count; n++) await add(n);
  // A store is swept when a page first writes to it.
  const next = createChatStore(openPage('http://127.0.0.1:1', own), options);
  await next.write(chatRecord(`c${count}`, day(count)), [questionRecord(`c${count}`)]);
  const ids = async (): Promise<string[]> => (await next.list()).map(({ id }) => id).toSorted();
  return { ids, messages: () => own.valuesOf('n:') };
}

const byName = (a: string, b: string): number => (a < b ? -1 : 1);

describe('a chat store in what the client keeps', () => {
  it.each([
    ['maxChats', { maxChats: 2 }],
    ['maxUnits', { maxUnits: 250 }],
    ['maxAgeSeconds', { maxAgeSeconds: 1.5 * 86_400 }],
  ] as const)('removes the chats that were changed least recently past %s', async (_, options) => {
    const { ids, messages } = await filled(4, options);
    await vi.waitFor(async () => expect((await ids()).sort(byName)).toEqual(['c3', 'c4']));
    expect(messages()).toHaveLength(2);
  });

  it('keeps chats with a time in the future, as after the clock was set back', async () => {
    const own = createStorage();
    const open = (): ChatStore => createChatStore(openPage('http://127.0.0.1:1', own));
    const later = Date.now() + 86_400_000;
    await open().write(chatRecord('later', later), [questionRecord('later')]);
    const old = chatRecord('old', Date.now() - 400 * 86_400_000);
    await open().write(old, [questionRecord('old')]);
    // The first write sweeps the store.
    await open().write(chatRecord('now', Date.now()), []);
    await vi.waitFor(async () => expect(await open().read('old')).toBeUndefined());
    expect((await open().read('later'))?.messages).toHaveLength(1);
  });

  it('reads from memory where there is no IndexedDB', async () => {
    const client = sdk('http://127.0.0.1:1', { cache: {} });
    const store = createChatStore(client);
    expect(await store.read('c')).toBeUndefined();
    const writing = store.write(chatRecord('c', Date.now()), [questionRecord('c')]);
    await expect(writing).rejects.toThrow('indexedDB');
    expect((await store.read('c'))?.messages).toHaveLength(1);
  });

  it('makes room when the disk is full, and keeps the chat that is written', async () => {
    const own = createStorage();
    const store = createChatStore(openPage('http://127.0.0.1:1', own));
    await store.write(chatRecord('old', 1), [questionRecord('old')]);
    const { setItem } = own;
    own.setItem = async (key, value) => {
      if (own.items.size > 2 && !own.items.has(key)) {
        throw new DOMException('full', 'QuotaExceededError');
      }
      await setItem(key, value);
    };
    await store.write(chatRecord('new', Date.now()), [questionRecord('new')]);
    expect((await store.read('new'))?.messages).toHaveLength(1);
    expect(await store.read('old')).toBeUndefined();
  });

  it('lists a chat once and removes it also from the disk when the disk took only its beginning', async () => {
    const own = createStorage();
    const store = createChatStore(openPage('http://127.0.0.1:1', own));
    await store.write(chatRecord('c', Date.now()), [questionRecord('c')]);
    const { setItem } = own;
    own.setItem = () => Promise.reject(new Error('no'));
    const later = store.write(chatRecord('c', Date.now()), [questionRecord('c', 'r')]);
    await expect(later).rejects.toThrow('no');
    own.setItem = setItem;
    expect(await store.list()).toHaveLength(1);
    await store.remove('c');
    expect(await store.read('c')).toBeUndefined();
    expect(own.valuesOf('n:')).toEqual([]);
  });

  it.each([
    ['of a newer version', { version: 2 }],
    ['without a text', { text: undefined }],
    ['of an unknown role', { role: 'system' }],
    ['that is no object', undefined],
  ])('leaves out a message %s, and reads the others', async (_, fields) => {
    const own = createStorage();
    const store = createChatStore(openPage('http://127.0.0.1:1', own));
    await store.write(chatRecord('c', Date.now()), [questionRecord('c'), questionRecord('c', 'r')]);
    const key = [...own.items.keys()].find((each) => each.endsWith(':r')) ?? '';
    own.items.set(key, fields ? JSON.stringify({ ...questionRecord('c', 'r'), ...fields }) : 'x');
    expect((await store.read('c'))?.messages).toEqual([questionRecord('c')]);
  });
});
