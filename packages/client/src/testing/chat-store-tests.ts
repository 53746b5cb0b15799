import type { ChatStore } from '../chat/chat-store.js';
import {
  type AssistantRecord,
  type ChatRecord,
  RECORD_VERSION,
  type StoredAnswer,
  type UserRecord,
} from '../chat/records.js';
import { randomId } from '../random-id.js';

/** One requirement of a chat store. `run` rejects with an `Error` that says what was wrong. */
export interface ChatStoreTest {
  readonly name: string;
  run(): Promise<void>;
}

/**
 * Tests of a store of chats, for any test runner. `createStore` returns the store, or another object
 * over the same data; the tests use random ids and remove their chats.
 *
 * @example for (const { name, run } of chatStoreTests(() => myStore)) it(name, run);
 */
export function chatStoreTests(
  createStore: () => ChatStore | Promise<ChatStore>,
): readonly ChatStoreTest[] {
  const test = (
    name: string,
    check: (store: ChatStore, chatId: string) => Promise<void>,
  ): ChatStoreTest => ({
    name,
    async run() {
      const store = await createStore();
      const chatId = randomId();
      try {
        await check(store, chatId);
      } finally {
        await store.remove(chatId);
      }
    },
  });

  return [
    test('has nothing of an unknown chat', async (store, chatId) => {
      same(await store.read(chatId), undefined);
      same(await listed(store, chatId), []);
      await store.remove(chatId);
    }),
    test('returns what was written, as it was written', async (store, chatId) => {
      const chat = chatRecord(chatId);
      const messages = [question(chatId, 'q'), answer(chatId, 'a', 'q')];
      await store.write(chat, messages);
      same(await store.read(chatId), { chat, messages });
      same(await listed(store, chatId), [chat]);
    }),
    test('keeps text with any characters', async (store, chatId) => {
      const text = 'ä 日本 👩‍👩‍👧 \u0000 \\ " \' </script> %s {{x}}';
      await store.write(chatRecord(chatId, { title: text }), [question(chatId, 'q', { text })]);
      const stored = await store.read(chatId);
      same(stored?.chat.title, text);
      same(stored?.messages, [question(chatId, 'q', { text })]);
    }),
    test('tells ids apart that begin alike or have special characters', async (store, chatId) => {
      const ids = [`${chatId}:`, `${chatId}:q`, `${chatId}/%2F`, `${chatId} ü`];
      try {
        for (const id of ids) await store.write(chatRecord(id), [question(id, 'q', { text: id })]);
        await store.write(chatRecord(chatId), []);
        same((await store.read(chatId))?.messages, []);
        for (const id of ids) {
          same((await store.read(id))?.messages, [question(id, 'q', { text: id })]);
        }
      } finally {
        for (const id of ids) await store.remove(id);
      }
    }),
    test('keeps the other messages when some are written', async (store, chatId) => {
      const chat = chatRecord(chatId);
      await store.write(chat, [question(chatId, 'q1')]);
      await store.write(chat, [question(chatId, 'q2')]);
      await store.write(chat, []);
      same((await store.read(chatId))?.messages, [question(chatId, 'q1'), question(chatId, 'q2')]);
    }),
    test('loses nothing when two tabs write at once', async (store, chatId) => {
      const other = await createStore();
      const chat = chatRecord(chatId);
      const ids = Array.from({ length: 10 }, (_, i) => `q${i}`);
      await Promise.all(
        ids.map((id, i) => (i % 2 === 0 ? store : other).write(chat, [question(chatId, id)])),
      );
      same(
        (await store.read(chatId))?.messages,
        ids.map((id) => question(chatId, id)),
      );
    }),
    test('keeps a finished answer when an older text of it is written', async (store, chatId) => {
      const chat = chatRecord(chatId);
      const finished = answer(chatId, 'a', 'q');
      await store.write(chat, [finished]);
      await store.write(chat, [answer(chatId, 'a', 'q', { status: 'streaming', text: 'Wh' })]);
      same((await store.read(chatId))?.messages, [finished]);
      const [part] = finished.parts;
      const late = {
        answer: { ...part?.answer, status: 'streaming' },
        lastTextAt: 9,
        updatedAt: 9,
      };
      await store.write(chat, [{ ...finished, parts: [late] } as AssistantRecord]);
      same((await store.read(chatId))?.messages, [finished]);
    }),
    test('keeps the later selection, title and draft, whichever was written last', async (store, chatId) => {
      await store.write(
        chatRecord(chatId, { title: 'New', titledAt: 5, draft: 'new', draftAt: 9 }),
        [question(chatId, 'q', { selectedAt: 7 })],
      );
      await store.write(
        chatRecord(chatId, { title: 'Old', titledAt: 4, draft: 'old', draftAt: 8 }),
        [question(chatId, 'q', { selectedAt: 6 })],
      );
      const stored = await store.read(chatId);
      same([stored?.chat.title, stored?.chat.draft], ['New', 'new']);
      same(stored?.messages[0]?.selectedAt, 7);
    }),
    test('does not bring back a message that was removed', async (store, chatId) => {
      const chat = chatRecord(chatId);
      const removed = question(chatId, 'q', { isRemoved: true, text: '' });
      await store.write(chat, [removed]);
      await store.write(chat, [question(chatId, 'q')]);
      same((await store.read(chatId))?.messages, [removed]);
    }),
    test('removes a chat with all its messages', async (store, chatId) => {
      await store.write(chatRecord(chatId), [question(chatId, 'q')]);
      await store.remove(chatId);
      same(await store.read(chatId), undefined);
      same(await listed(store, chatId), []);
    }),
    test('does not bring back a chat that was removed, and takes a new one', async (store, chatId) => {
      const createdAt = Date.now() - 1_000;
      await store.write(chatRecord(chatId, { createdAt }), [question(chatId, 'q')]);
      await store.remove(chatId);
      await store.write(chatRecord(chatId, { createdAt }), [question(chatId, 'q2')]);
      same(await store.read(chatId), undefined);
      const later = chatRecord(chatId, { createdAt: Date.now() + 1_000 });
      await store.write(later, [question(chatId, 'q3')]);
      same((await store.read(chatId))?.messages, [question(chatId, 'q3')]);
    }),
  ];
}

async function listed(store: ChatStore, chatId: string): Promise<readonly ChatRecord[]> {
  return (await store.list()).filter(({ id }) => id === chatId);
}

function chatRecord(id: string, fields: Partial<ChatRecord> = {}): ChatRecord {
  const now = Date.now();
  const times = { createdAt: now, updatedAt: now, titledAt: 0, draftAt: 0 };
  return { version: RECORD_VERSION, id, title: 'Title', draft: '', units: 10, ...times, ...fields };
}

function question(chatId: string, id: string, fields: Partial<UserRecord> = {}): UserRecord {
  return {
    ...message(chatId, id),
    role: 'user',
    text: 'What is a delta?',
    status: 'sent',
    owner: 'tab',
    request: { options: { temperature: 0.5 } },
    ...fields,
  };
}

function answer(
  chatId: string,
  id: string,
  parentId: string,
  fields: Partial<StoredAnswer> = {},
): AssistantRecord {
  const stored = {
    id: 'answer',
    query: 'What is a delta?',
    status: 'done',
    text: 'Where a river ends.',
    tools: [],
    attempt: 1,
    omittedMessages: 0,
    finishReason: 'stop',
    ...fields,
  } as unknown as StoredAnswer;
  return {
    ...message(chatId, id),
    parentId,
    role: 'assistant',
    parts: [{ answer: stored, lastTextAt: 3, updatedAt: 3 }],
  };
}

type Common = Omit<UserRecord, 'role' | 'text' | 'status' | 'replaces' | 'owner' | 'request'>;

function message(chatId: string, id: string): Common & { replaces: undefined } {
  return {
    version: RECORD_VERSION,
    id,
    chatId,
    parentId: undefined,
    createdAt: 1,
    updatedAt: 2,
    selectedAt: 1,
    isRemoved: false,
    replaces: undefined,
  };
}

/** @throws {Error} if they differ as JSON, whatever the order of fields and messages. */
function same(actual: unknown, expected: unknown): void {
  const [is, shouldBe] = [canonical(actual), canonical(expected)];
  if (is !== shouldBe) throw new Error(`the store has ${is}, where chats need ${shouldBe}`);
}

function canonical(value: unknown): string {
  return JSON.stringify(sorted(value)) ?? 'nothing';
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(sorted);
    const isRecords = items.every((item) => typeof Object(item).id === 'string');
    return isRecords ? items.sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1)) : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  fields.sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([name, field]) => [name, sorted(field)]));
}

function idOf(record: unknown): string {
  return String((record as { id: unknown }).id);
}
