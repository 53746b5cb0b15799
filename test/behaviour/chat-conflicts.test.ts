import {
  type Chat,
  type ChatStore,
  createChat,
  removeChat,
  renameChat,
} from '@rivulet/client/chat';
import type { AssistantRecord, StoredAnswer } from '../../packages/client/src/chat/records.js';
import { ProviderError } from '@rivulet/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  chatWhen,
  createSharedStore,
  newestAnswer,
  openPage,
  settled,
  stagedChat,
  textsOf,
} from '../harness/chat.js';
import { sdk } from '../harness/sdk.js';

const idOf = (chat: Chat, text: string): string =>
  chat.getSnapshot().messages.find((message) => message.text === text)?.id ?? 'none';

const LIMITED = {
  code: 'rate_limited',
  message: 'wait',
  retryable: true,
  retryAfterMs: undefined,
} as const;

/** One chat in two tabs of one user, after an exchange. */
async function twoTabs(questions = ['one']) {
  const all = await stagedChat();
  const store = createSharedStore();
  const chat = createChat(all.client, { id: 'c', store });
  const there = createChat(openPage(all.server.url, all.storage), { id: 'c', store });
  for (const each of [chat, there]) {
    each.state$.subscribe();
    await chatWhen(each, ({ status }) => status === 'ready');
  }
  for (const question of questions) {
    void chat.send(question);
    await all.reply(`A ${question}`);
  }
  const count = 2 * questions.length;
  for (const each of [chat, there]) {
    await chatWhen(each, ({ messages, status }) => messages.length === count && status === 'ready');
  }
  return { ...all, store, chat, there };
}

describe('versions', () => {
  it('stay versions of one question when one between them is removed', async () => {
    const { client, reply } = await stagedChat();
    const chat = createChat(client);
    void chat.send('one');
    await reply('A one');
    await settled(chat);
    for (const [from, to] of [
      ['one', 'two'],
      ['two', 'three'],
    ] as const) {
      void chat.edit(idOf(chat, from), to);
      await reply(`A ${to}`);
      await settled(chat);
    }
    chat.selectVersion(idOf(chat, 'three'), 1);
    chat.remove(idOf(chat, 'two'));
    expect(textsOf(chat.getSnapshot())).toEqual(['three', 'A three']);
    expect(chat.getSnapshot().messages[0]).toMatchObject({ version: 1, versionCount: 2 });
  });
});

describe('what is queued', () => {
  it.each(['edit', 'regenerate', 'retry', 'continue'] as const)(
    'waits for the new answer when the one under way gives way to it by %s',
    async (action) => {
      const { client, nextCall, reply, calls } = await stagedChat();
      const chat = createChat(client);
      chat.state$.subscribe();
      void chat.send('one');
      (await nextCall()).say('Half');
      await chatWhen(chat, ({ status }) => status === 'streaming');
      void chat.send('two');
      if (action === 'edit') void chat.edit(idOf(chat, 'one'), 'uno');
      else void chat[action]();
      expect(chat.getSnapshot().messages.at(-1)).toMatchObject({ text: 'two', status: 'queued' });
      const second = await reply('.');
      expect(textsOf(second.prompt)[0]).toBe(action === 'edit' ? 'uno' : 'one');
      const third = await reply('A two');
      expect(textsOf(third.prompt).at(-1)).toBe('two');
      await chatWhen(chat, ({ messages, status }) => messages.length === 4 && status === 'ready');
      expect(textsOf(chat.getSnapshot()).slice(2)).toEqual(['two', 'A two']);
      expect(calls).toHaveLength(3);
    },
  );

  it('is asked after all when the action that stopped the answer under way is refused', async () => {
    const { client, nextCall, reply } = await stagedChat();
    const chat = createChat(client);
    chat.state$.subscribe();
    void chat.send('one');
    await nextCall();
    void chat.send('two');
    await expect(chat.continue()).rejects.toMatchObject({ code: 'bad_request' });
    expect(textsOf((await reply('A two')).prompt).at(-1)).toBe('two');
  });

  it('is not written again and again by two tabs that cannot see which of them is gone', async () => {
    const { chat, there, store, nextCall, reply, calls } = await twoTabs();
    const original = store.write;
    const write = vi.spyOn(store, 'write').mockImplementation((record, messages) =>
      // An endless loop must end here for the test to fail.
      write.mock.calls.length > 100 ? new Promise(() => {}) : original(record, messages),
    );
    void chat.send('two');
    const call = await nextCall();
    void chat.send('three');
    await chatWhen(there, ({ messages }) => messages.length === 5);
    call.say('A two');
    call.finish();
    await reply('A three');
    for (const each of [chat, there]) {
      await chatWhen(each, ({ messages, status }) => messages.length === 6 && status === 'ready');
      expect(textsOf(each.getSnapshot()).slice(4)).toEqual(['three', 'A three']);
    }
    expect(calls).toHaveLength(3);
    expect(write.mock.calls.length).toBeLessThan(30);
  });

  it('tells its sender when another tab removes it', async () => {
    const { chat, there, nextCall } = await twoTabs();
    void chat.send('two');
    await nextCall();
    const sent = chat.send('three');
    await chatWhen(there, ({ messages }) => messages.length === 5);
    there.remove(idOf(there, 'three'));
    await expect(sent).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('gives its sender the answer when another tab changes and asks it', async () => {
    const { chat, there, nextCall, reply } = await twoTabs();
    void chat.send('two');
    const call = await nextCall();
    const sent = chat.send('three');
    await chatWhen(there, ({ messages }) => messages.length === 5);
    const edited = there.edit(idOf(there, 'three'), 'drei');
    await chatWhen(chat, ({ messages }) => messages[4]?.text === 'drei');
    call.say('A two');
    call.finish();
    const next = await reply('A drei');
    expect(textsOf(next.prompt).at(-1)).toBe('drei');
    expect(await (await edited).result).toMatchObject({ text: 'A drei' });

    expect(await (await sent).result).toMatchObject({ text: 'A drei' });
  });

  it.each<[string, Partial<StoredAnswer>, Partial<AssistantRecord>]>([
    ['fails before the server has it', { status: 'failed', error: LIMITED }, {}],
    ['comes from the browser’s cache', { status: 'done', provider: 'browser-cache' }, {}],
    ['is removed before the server has it', {}, { isRemoved: true, parts: [] }],
  ])('is refused when another tab asks it and the answer %s', async (_, answered, fields) => {
    const { chat, store, nextCall } = await twoTabs();
    void chat.send('two');
    await nextCall();
    const sent = chat.send('three');
    const { chat: record, messages } = await vi.waitUntil(async () => {
      const stored = await store.read('c');
      return stored?.messages.some(({ id }) => id === idOf(chat, 'three')) && stored;
    });
    const question = messages.find(({ id }) => id === idOf(chat, 'three'));
    const other = messages.find(({ role }) => role === 'assistant');
    if (question?.role !== 'user' || other?.role !== 'assistant') throw new Error('not stored');
    const [part] = other.parts;
    const updatedAt = Date.now() + 1;
    const answer = { ...part!.answer, id: 'a', requestId: undefined, ...answered };
    await store.write(record, [
      { ...question, text: 'drei', status: 'sent', updatedAt },
      { ...other, id: 'm', parentId: question.id, parts: [{ ...part!, answer }], ...fields },
    ]);
    await expect(sent).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('is refused when the client is closed', async () => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client);
    void chat.send('one');
    await nextCall();
    const sent = chat.send('two');
    client.close();
    await expect(sent).rejects.toMatchObject({ code: 'cancelled' });
    await expect(chat.send('three')).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('an answer that is continued after a part failed', () => {
  it('is resumed after a reload', async () => {
    const { client, server, storage, nextCall } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    chat.state$.subscribe();
    void chat.send('one');
    const first = await nextCall();
    first.say('Where a');
    first.finish('length');
    await settled(chat);
    void chat.continue();
    (await nextCall()).fail(new ProviderError('content_filter', 'no'));
    await chatWhen(chat, ({ messages }) => Object(messages[1]).ending === 'filtered');
    const kept = (): string => JSON.stringify(storage.valuesOf('n:'));
    await vi.waitFor(() => expect(kept()).toContain('failed'));
    void chat.continue();
    const third = await nextCall();
    third.say(' river');
    await chatWhen(chat, ({ messages }) => messages[1]?.text === 'Where a river');
    await vi.waitFor(() => expect(kept()).toContain(' river'));
    client.close();
    const next = createChat(openPage(server.url, storage), { id: 'c' });
    next.state$.subscribe();
    await chatWhen(next, ({ messages }) => messages.length === 2);
    third.say(' ends.');
    third.finish();
    await chatWhen(next, ({ messages }) => messages[1]?.text === 'Where a river ends.');
    await settled(next);
    expect(newestAnswer(next)).toMatchObject({
      ending: 'complete',
      parts: [{ text: 'Where a' }, { text: ' river ends.' }],
    });
  });
});

describe('removing in one tab', () => {
  it('a question that another tab asks at that moment stops its answer and forgets it', async () => {
    const { chat, there, store, nextCall } = await twoTabs();
    void chat.send('two');
    const call = await nextCall();
    void chat.send('three');
    await chatWhen(there, ({ messages }) => messages.length === 5);
    there.remove(idOf(there, 'three'));
    const asked = chat.getSnapshot().messages.find(({ text }) => text === 'three');
    expect(asked).toMatchObject({ status: 'queued' });
    // The removal is on its way while the answer before ends.
    chat.stop();
    expect(chat.getSnapshot().messages).toHaveLength(6);
    await call.aborted;
    await chatWhen(chat, ({ messages, status }) => messages.length === 4 && status === 'ready');
    await vi.waitFor(async () =>
      expect(JSON.stringify(await store.read('c'))).not.toContain('three'),
    );
  });

  it('the whole chat and starting it again leaves nothing of it in the other', async () => {
    const { chat, there, store, reply } = await twoTabs(['secret']);
    await chat.clear();
    void chat.send('new');
    await reply('A new');
    for (const each of [chat, there]) {
      await chatWhen(each, ({ messages, status }) => status === 'ready' && messages.length === 2);
      expect(textsOf(each.getSnapshot())).toEqual(['new', 'A new']);
    }
    expect(JSON.stringify(await store.read('c'))).not.toContain('secret');
  });

  it.each<[string, (chat: Chat, page: ReturnType<typeof openPage>) => unknown]>([
    ['removeChat', (_, page) => removeChat(page, 'c')],
    ['clear', (_, page) => createChat(page, { id: 'c' }).clear()],
  ])('a chat that is not open there, by %s, empties it in the other', async (_, remove) => {
    const { client, server, storage, reply } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    chat.state$.subscribe();
    void chat.send('secret');
    await reply('A secret');
    await settled(chat);
    await vi.waitFor(() => expect(JSON.stringify([...storage.items])).toContain('A secret'));
    await remove(chat, openPage(server.url, storage));
    await chatWhen(chat, ({ messages }) => messages.length === 0);
  });
});

describe('a store that fails', () => {
  it('to remove a chat does not stop the chat from hearing of other tabs', async () => {
    const { chat, there, store, reply } = await twoTabs();
    vi.spyOn(store, 'remove').mockRejectedValueOnce(new Error('no'));
    await expect(chat.clear()).rejects.toThrow('no');
    void there.send('two');
    await reply('A two');
    await chatWhen(chat, ({ messages }) => messages.at(-1)?.text === 'A two');
    expect(chat.getSnapshot().storeError).toBeUndefined();
  });

  it('to remove a chat rejects a promise that may be ignored', async () => {
    const { client } = await stagedChat();
    const unhandled = vi.fn<() => void>();
    process.on('unhandledRejection', unhandled);
    onTestFinished(() => void process.off('unhandledRejection', unhandled));
    const store: ChatStore = {
      ...createSharedStore(),
      remove: () => Promise.reject(new Error('no')),
    };
    void createChat(client, { id: 'c', store }).clear();
    // Node reports an unhandled rejection at the end of the turn.
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('to give proper records is one without them', async () => {
    const { client, reply } = await stagedChat();
    const damaged = { id: 'a', chatId: 'c', role: 'assistant', isRemoved: false, parts: [] };
    const store = createSharedStore();
    const read = (): Promise<never> =>
      Promise.resolve({ chat: { id: 'c' }, messages: [damaged, null] } as never);
    const chat = createChat(client, { id: 'c', store: { ...store, read } });
    chat.state$.subscribe();
    void chat.send('one');
    await reply('A one');
    await settled(chat);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one']);
  });
});

describe('a client that keeps nothing', () => {
  it('forgets its chats when its cache is cleared', async () => {
    const { server, client: _, ...all } = await stagedChat();
    const client = sdk(server.url, { auth: () => 'ada', cache: {} });
    const chat = createChat(client, { id: 'c' });
    void chat.send('secret');
    await all.reply('A secret');
    await settled(chat);
    chat.state$.subscribe();
    await client.cache.clear();
    await vi.waitFor(() => expect(chat.getSnapshot().messages).toEqual([]));
  });
});

describe('a chat that is listed', () => {
  it('cannot be given a blank title, which would hide it', async () => {
    const { client, reply } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    void chat.send('one');
    await reply('A one');
    await settled(chat);
    await expect(renameChat(client, 'c', ' ')).rejects.toMatchObject({ code: 'bad_request' });
  });
});
