import {
  type ChatMessage,
  type ChatSnapshot,
  createChat,
  listChats,
  removeChat,
  renameChat,
} from '@rivulet/client/chat';
import { firstValueFrom, filter } from 'rxjs';
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
import { freePort } from '../harness/free-port.js';
import { cuttableLink } from '../harness/link.js';
import { connectionWhen } from '../harness/sdk.js';
import { createStorage, type TestStorage } from '../harness/storage.js';

/** A chat `c` with one exchange, in a page that is gone. */
async function left() {
  const all = await stagedChat();
  const chat = createChat(all.client, { id: 'c' });
  void chat.send('one');
  await all.reply('A one');
  await settled(chat);
  chat.setDraft('thre');
  const kept = (): unknown[] => all.storage.valuesOf('c:c');
  await vi.waitFor(() => expect(kept()).toMatchObject([{ draft: 'thre', title: 'one' }]));
  all.client.close();
  return { ...all, open: () => openPage(all.server.url, all.storage) };
}

/** Resolves when this turn of the event loop has ended. */
const settledTurn = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve));

const isQueued = (message: ChatMessage | undefined): boolean =>
  message?.role === 'user' && message.status === 'queued';

function setTime(ms: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
  onTestFinished(() => void vi.useRealTimers());
}

const DAY_MS = 86_400_000;

describe('a chat that is kept', () => {
  it('is there for the next page, with its draft, a week later', async () => {
    const { open, calls } = await left();
    setTime(7 * DAY_MS);
    const chat = createChat(open(), { id: 'c' });
    expect(chat.getSnapshot()).toMatchObject({ status: 'loading', messages: [] });
    const { draft } = await settled(chat);
    expect(draft).toBe('thre');
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one']);
    expect(newestAnswer(chat)).toMatchObject({
      ending: 'complete',
      answer: { provider: 'stage', status: 'done' },
    });
    expect(calls).toHaveLength(1);
  });

  it('resumes the answer under way after a reload, and never shows less text than before', async () => {
    const { client, storage, server, nextCall } = await stagedChat();
    const before = createChat(client, { id: 'c' });
    void before.send('one');
    const call = await nextCall();
    call.say('Where a river');
    await chatWhen(before, ({ status }) => status === 'streaming');
    await vi.waitFor(() => expect(storage.valuesOf('n:')).toHaveLength(2));
    await vi.waitFor(() =>
      expect(storage.valuesOf('j:')).toMatchObject([{ received: { text: 'Where a river' } }]),
    );
    const reloaded = storage.copy();
    client.close();
    const chat = createChat(openPage(server.url, reloaded), { id: 'c' });
    const texts: (string | undefined)[] = [];
    chat.messages$.subscribe((messages) => texts.push(messages[1]?.text));
    await chatWhen(chat, ({ messages }) => messages[1]?.text === 'Where a river');
    call.say(' ends.');
    call.finish();
    await settled(chat);
    expect(texts.at(-1)).toBe('Where a river ends.');
    const seen = texts.flatMap((text) => text ?? []).map(({ length }) => length);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(newestAnswer(chat)).toMatchObject({ ending: 'complete' });
  });

  it('is kept with the first text of an answer as soon as that comes', async () => {
    const { client, storage, nextCall } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    void chat.send('one');
    const call = await nextCall();
    await vi.waitFor(() => expect(storage.valuesOf('n:')).toHaveLength(2));
    call.say('Where a river');
    await vi.waitFor(() =>
      expect(JSON.stringify(storage.valuesOf('n:'))).toContain('Where a river'),
    );
    expect(chat.getSnapshot().status).toBe('streaming');
  });

  it('shows the text that it had while the server sends it again', async () => {
    const { client, storage, server, nextCall } = await stagedChat();
    const before = createChat(client, { id: 'c' });
    void before.send('one');
    const call = await nextCall();
    call.say('Where a river');
    await vi.waitFor(() =>
      expect(JSON.stringify(storage.valuesOf('n:'))).toContain('Where a river'),
    );
    const reloaded = storage.copy();
    for (const key of reloaded.items.keys()) if (key.includes(']j:')) reloaded.items.delete(key);
    const chat = createChat(openPage(server.url, reloaded), { id: 'c' });
    const texts = new Set<string | undefined>();
    chat.messages$.subscribe((messages) => messages[1] && texts.add(messages[1].text));
    await chatWhen(chat, ({ messages }) => messages[1]?.text === 'Where a river');
    call.say(' ends.');
    call.finish();
    await settled(chat);
    expect([...texts]).toEqual(['Where a river', 'Where a river ends.']);
  });

  it('keeps the text so far when the server is gone, and says that it was interrupted', async () => {
    const port = await freePort();
    const { client, storage, server, nextCall, ...all } = await stagedChat({ port });
    const before = createChat(client, { id: 'c' });
    void before.send('one');
    (await nextCall()).say('Where a river');
    await chatWhen(before, ({ status }) => status === 'streaming');
    await vi.waitFor(() =>
      expect(storage.valuesOf('j:')).toMatchObject([{ received: { text: 'Where a river' } }]),
    );
    const reloaded = storage.copy();
    client.close();
    await server.close();
    const next = await stagedChat({ port });
    const chat = createChat(openPage(server.url, reloaded), { id: 'c' });
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({
      text: 'Where a river',
      ending: 'interrupted',
      canContinue: true,
      answer: { error: { code: 'interrupted', partialText: 'Where a river' } },
    });
    expect(next.calls).toEqual([]);
    expect(all.calls).toHaveLength(1);
  });

  it('keeps the text so far by itself, when neither the server nor the journal has it', async () => {
    const page = new EventTarget();
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
    onTestFinished(() => void vi.unstubAllGlobals());
    const { client, storage, server, nextCall } = await stagedChat();
    const before = createChat(client, { id: 'c' });
    void before.send('one');
    (await nextCall()).say('Where a river');
    await chatWhen(before, ({ status }) => status === 'streaming');
    page.dispatchEvent(new Event('visibilitychange'));
    await vi.waitFor(() =>
      expect(JSON.stringify(storage.valuesOf('n:'))).toContain('Where a river'),
    );
    const later = storage.copy();
    client.close();
    await server.close();
    setTime(7 * DAY_MS);
    const chat = createChat(openPage(server.url, later), { id: 'c' });
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({
      text: 'Where a river',
      ending: 'interrupted',
      answer: { error: { partialText: 'Where a river', retryable: true } },
    });
  });

  it('asks after a reload what waited', async () => {
    const { client, storage, server, nextCall } = await stagedChat();
    const before = createChat(client, { id: 'c' });
    void before.send('one');
    const first = await nextCall();
    void before.send('two');
    await vi.waitFor(() => expect(storage.valuesOf('n:')).toHaveLength(3));
    client.close();
    const chat = createChat(openPage(server.url, storage), { id: 'c' });
    await chatWhen(chat, ({ messages }) => messages.length === 3);
    expect(chat.getSnapshot().messages[2]).toMatchObject({ text: 'two', status: 'queued' });
    first.say('A one');
    first.finish();
    const second = await nextCall();
    second.say('A two');
    second.finish();
    await chatWhen(chat, ({ messages }) => messages.length === 4);
    await settled(chat);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one', 'two', 'A two']);
  });
});

describe('chats that are listed', () => {
  it('have the first question as title, the newest first, and hear of every change', async () => {
    const { client, reply } = await stagedChat();
    const lists: string[][] = [];
    listChats(client).subscribe((chats) => lists.push(chats.map(({ title }) => title)));
    for (const title of ['one', 'two']) {
      const chat = createChat(client);
      void chat.send(`${title}\nmore`);
      await reply('A');
      await settled(chat);
    }
    await vi.waitFor(() => expect(lists.at(-1)).toEqual(['two', 'one']));
    const listed = await firstValueFrom(listChats(client));
    await renameChat(client, listed[1]!.id, 'eins');
    await vi.waitFor(() => expect(lists.at(-1)).toEqual(['two', 'eins']));
    await removeChat(client, listed[0]!.id);
    await vi.waitFor(() => expect(lists.at(-1)).toEqual(['eins']));
    await expect(renameChat(client, 'none', 'x')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('do not have a chat that has only a draft', async () => {
    const { client, storage } = await stagedChat();
    createChat(client, { id: 'c' }).setDraft('Wh');
    await vi.waitFor(() => expect(storage.valuesOf('c:c')).toMatchObject([{ draft: 'Wh' }]));
    expect(await firstValueFrom(listChats(client))).toEqual([]);
  });
});

describe('removing', () => {
  it('empties a chat that is open, also in another tab, and it stays removed', async () => {
    const { client, storage, server, nextCall } = await stagedChat();
    const store = createSharedStore();
    const chat = createChat(client, { id: 'c', store });
    void chat.send('one');
    const call = await nextCall();
    call.say('Half');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    const there = createChat(openPage(server.url, storage), { id: 'c', store });
    await chatWhen(there, ({ messages }) => messages.length === 2);
    there.state$.subscribe();
    await removeChat(client, 'c', store);
    await call.aborted;
    await chatWhen(chat, ({ messages }) => messages.length === 0);
    await chatWhen(there, ({ messages }) => messages.length === 0);
    await settledTurn();
    expect(await store.read('c')).toBeUndefined();
  });

  it.each(['chat.clear', 'cache.clear'])(
    'forgets everything by %s, and the chat goes on',
    async (how) => {
      const { client, storage, reply } = await stagedChat();
      const chat = createChat(client, { id: 'c' });
      void chat.send('secret');
      await reply('A secret');
      await settled(chat);
      await vi.waitFor(() => expect(JSON.stringify([...storage.items])).toContain('A secret'));
      chat.state$.subscribe();
      if (how === 'chat.clear') await chat.clear();
      else await client.cache.clear();
      expect(chat.getSnapshot().messages).toEqual([]);
      const kept = (): string => JSON.stringify([storage.valuesOf('n:'), storage.valuesOf('c:c')]);
      expect(kept()).not.toContain('secret');
      void chat.send('two');
      await reply('A two');
      await settled(chat);
      expect(textsOf(chat.getSnapshot())).toEqual(['two', 'A two']);
      await vi.waitFor(() => expect(kept()).toContain('A two'));
      expect(kept()).not.toContain('secret');
    },
  );

  it('is undone by writing the records again, also while nothing uses the chat', async () => {
    const { client, reply } = await stagedChat();
    const store = createSharedStore();
    const chat = createChat(client, { id: 'c', store });
    void chat.send('one');
    await reply('A one');
    await settled(chat);
    const use = chat.state$.subscribe();
    const kept = await vi.waitUntil(async () => {
      const stored = await store.read('c');
      return JSON.stringify(stored).includes('A one') && stored;
    });
    await removeChat(client, 'c', store);
    await chatWhen(chat, ({ messages }) => messages.length === 0);
    use.unsubscribe();
    await settledTurn();
    await store.write({ ...kept.chat, createdAt: Date.now() + 1 }, kept.messages);
    await settledTurn();
    await chatWhen(chat, ({ messages }) => messages.length === 2);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one']);
  });

  it('forgets a chat that was not in use while the client’s cache was cleared', async () => {
    const { client, storage, reply } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    void chat.send('secret');
    await reply('A secret');
    await settled(chat);
    await vi.waitFor(() => expect(JSON.stringify([...storage.items])).toContain('A secret'));
    await settledTurn();
    await client.cache.clear();
    void chat.send('two');
    const call = await reply('A two');
    await chatWhen(chat, ({ messages }) => messages.length === 2);
    await settled(chat);
    expect(textsOf(call.prompt)).toEqual(['two']);
    expect(textsOf(chat.getSnapshot())).toEqual(['two', 'A two']);
    await vi.waitFor(() => expect(JSON.stringify([...storage.items])).toContain('A two'));
    expect(JSON.stringify([...storage.items])).not.toContain('secret');
  });
});

/** A chat `c` with an answer under way, and the same chat in another tab; both use one storage. */
async function openInTwoTabs() {
  const all = await stagedChat();
  const chat = createChat(all.client, { id: 'c' });
  chat.state$.subscribe();
  void chat.send('one');
  const call = await all.nextCall();
  call.say('Half');
  await chatWhen(chat, ({ messages }) => messages[1]?.text === 'Half');
  await vi.waitFor(() => expect(JSON.stringify(all.storage.valuesOf('n:'))).toContain('Half'));
  const otherStorage = { ...all.storage };
  const there = createChat(openPage(all.server.url, otherStorage), { id: 'c' });
  await chatWhen(there, ({ messages }) => messages[1]?.text === 'Half');
  return { ...all, chat, call, there };
}

describe('a storage that cannot be read', () => {
  it.each([
    ['rejects', () => Promise.reject(new Error('no'))],
    ['never responds', () => new Promise<never>(() => {})],
  ])('because it %s does not empty a chat or stop its answer', async (_, getItem) => {
    const { storage, chat, call, there } = await openInTwoTabs();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const failing = vi.spyOn(storage, 'getItem').mockImplementation(getItem);
    const failed = chatWhen(chat, ({ storeError }) => storeError !== undefined);
    const emptied = chatWhen(chat, ({ messages }) => messages.length === 0);
    there.setDraft('thre');
    await vi.advanceTimersByTimeAsync(300);
    await vi.waitFor(() => expect(failing).toHaveBeenCalled());
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await Promise.race([failed, emptied])).messages).toHaveLength(2);
    vi.useRealTimers();
    failing.mockRestore();
    call.say(' and all');
    call.finish();
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ text: 'Half and all', ending: 'complete' });
    await chatWhen(chat, ({ storeError }) => storeError === undefined);
  });

  it('when the chat is opened does not replace what it has', async () => {
    const { open, storage, reply } = await left();
    const failing = vi.spyOn(storage, 'getItem').mockRejectedValue(new Error('no'));
    const chat = createChat(open(), { id: 'c' });
    const { storeError } = await chatWhen(chat, ({ status }) => status === 'ready');
    expect(storeError).toMatchObject({ message: 'no' });
    failing.mockRestore();
    void chat.send('two');
    await reply('A two');
    await chatWhen(chat, ({ messages, status }) => messages.length === 4 && status === 'ready');
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one', 'two', 'A two']);
    expect(chat.getSnapshot().storeError).toBeUndefined();
  });

  it('rejects the removal of a chat, whose messages would stay', async () => {
    const { open, storage } = await left();
    const client = open();
    const failing = vi.spyOn(storage, 'getAllKeys').mockRejectedValue(new Error('no'));
    await expect(removeChat(client, 'c')).rejects.toThrow('no');
    failing.mockRestore();
    await removeChat(client, 'c');
    expect(storage.valuesOf('n:')).toEqual([]);
  });
});

describe('a chat that a newer version of the app has stored', () => {
  const isRefused = ({ storeError }: ChatSnapshot): boolean =>
    /newer version/.test(String(storeError));

  /** Stores the records as a version of the app does that has another field. */
  function upgrade({ items }: TestStorage, prefix: string): void {
    for (const [key, item] of items) {
      if (!key.includes(`]${prefix}`)) continue;
      items.set(key, JSON.stringify({ ...Object(JSON.parse(item)), version: 2, isPinned: true }));
    }
  }

  it('is not replaced by a page that opens it', async () => {
    const { open, storage, reply } = await left();
    upgrade(storage, 'c:');
    const before = storage.valuesOf('c:');
    const chat = createChat(open(), { id: 'c' });
    await chatWhen(chat, isRefused);
    void chat.send('two');
    await reply('A two');
    await chatWhen(chat, (now) => isRefused(now) && now.status === 'ready');
    expect(textsOf(chat.getSnapshot())).toEqual(['two', 'A two']);
    expect(storage.valuesOf('c:')).toEqual(before);
  });

  it('is not replaced by a page that has it open, whose own messages stay', async () => {
    const { client, storage, reply } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    void chat.send('one');
    await reply('A one');
    await settled(chat);
    await vi.waitFor(() => expect(storage.valuesOf('n:')).toHaveLength(2));
    upgrade(storage, 'c:');
    upgrade(storage, 'n:');
    const before = [storage.valuesOf('c:'), storage.valuesOf('n:')];
    void chat.send('two');
    await reply('A two');
    await chatWhen(chat, isRefused);
    await settled(chat);
    chat.setDraft('thre');
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one', 'two', 'A two']);
    expect([storage.valuesOf('c:'), storage.valuesOf('n:')]).toEqual(before);
    await expect(renameChat(client, 'c', 'One')).rejects.toThrow('newer version');
  });

  it('is not replaced in a store of the app', async () => {
    const store = createSharedStore();
    const { client, reply } = await stagedChat();
    const chat = createChat(client, { id: 'c', store });
    void chat.send('one');
    await reply('A one');
    await settled(chat);
    const stored = await vi.waitFor(async () => {
      const found = await store.read('c');
      expect(found?.messages).toHaveLength(2);
      return found!;
    });
    Object.assign(stored.chat, { version: 2 });
    chat.setDraft('tw');
    await chatWhen(chat, isRefused);
    expect((await store.read('c'))?.chat).toMatchObject({ version: 2, draft: '' });
  });
});

describe('a clock that is set back', () => {
  it('does not empty a chat or stop its answer', async () => {
    const { storage, chat, call, there } = await openInTwoTabs();
    const getItem = vi.spyOn(storage, 'getItem');
    setTime(-10 * 60_000);
    there.setDraft('thre');
    const removed = chatWhen(chat, ({ messages }) => messages.length === 0);
    // The chat reads its head and both messages.
    await vi.waitFor(() => expect(getItem.mock.calls.length).toBeGreaterThan(2));
    call.say(' and all');
    call.finish();
    const whole = chatWhen(chat, ({ messages }) => messages[1]?.text === 'Half and all');
    expect((await Promise.race([whole, removed])).messages).toHaveLength(2);
  });
});

describe('two tabs', () => {
  it('show the same messages and live text, and either stops the answer', async () => {
    const { client, storage, server, nextCall, calls } = await stagedChat();
    const store = createSharedStore();
    const chat = createChat(client, { id: 'c', store });
    const there = createChat(openPage(server.url, storage), { id: 'c', store });
    there.state$.subscribe();
    await chatWhen(there, ({ status }) => status === 'ready');
    void chat.send('one');
    const call = await nextCall();
    call.say('Where');
    await chatWhen(there, ({ messages }) => messages[1]?.text === 'Where');
    call.say(' a river');
    await chatWhen(there, ({ messages }) => messages[1]?.text === 'Where a river');
    there.stop();
    await call.aborted;
    await settled(chat);
    await settled(there);
    for (const { getSnapshot } of [bound(chat), bound(there)]) {
      expect(getSnapshot().messages).toMatchObject([
        { text: 'one' },
        { text: 'Where a river', ending: 'stopped' },
      ]);
    }
    expect(calls).toHaveLength(1);
  });

  it('show an answer that its tab can ask only after a while, and do not call it interrupted', async () => {
    const { server, storage, reply } = await stagedChat();
    const store = createSharedStore();
    const link = await cuttableLink(server.url);
    link.down();
    const asking = createChat(openPage(link.url, createStorage()), { id: 'c', store });
    void asking.send('one');
    const otherPage = openPage(server.url, storage);
    const resume = vi.spyOn(otherPage, 'resume');
    const there = createChat(otherPage, { id: 'c', store });
    const endings: (string | undefined)[] = [];
    there.messages$.subscribe((messages) => {
      const newest = messages.findLast((message) => message.role === 'assistant');
      if (newest?.role === 'assistant') endings.push(newest.ending);
    });
    await chatWhen(there, ({ messages }) => messages.length === 2);
    // It looks for the answer again, since the server had none.
    await vi.waitFor(() => expect(resume.mock.calls.length).toBeGreaterThan(1), {
      timeout: 10_000,
    });
    link.up();
    await reply('A one');
    await chatWhen(there, ({ messages }) => messages[1]?.text === 'A one');
    await settled(there);
    expect(new Set(endings)).toEqual(new Set([undefined, 'complete']));
  });

  it('lose nothing when both send at once', async () => {
    const { client, storage, server, nextCall } = await stagedChat();
    const store = createSharedStore();
    const chats = [client, openPage(server.url, storage)].map((page) =>
      createChat(page, { id: 'c', store }),
    );
    for (const chat of chats) {
      chat.state$.subscribe();
      await chatWhen(chat, ({ status }) => status === 'ready');
    }
    for (const [i, chat] of chats.entries()) void chat.send(`q${i}`);
    for (const _ of chats) {
      const call = await nextCall();
      call.say(`A ${textsOf(call.prompt).at(-1)}`);
      call.finish();
    }
    for (const chat of chats) {
      await chatWhen(chat, ({ messages, status }) => messages.length === 4 && status === 'ready');
      const texts = textsOf(chat.getSnapshot());
      expect(new Set(texts)).toEqual(new Set(['q0', 'A q0', 'q1', 'A q1']));
      expect(texts.indexOf('A q0')).toBe(texts.indexOf('q0') + 1);
      expect(texts.indexOf('A q1')).toBe(texts.indexOf('q1') + 1);
    }
    expect(textsOf(chats[0]!.getSnapshot())).toEqual(textsOf(chats[1]!.getSnapshot()));
  });
});

const bound = (chat: ReturnType<typeof createChat>) => ({ getSnapshot: () => chat.getSnapshot() });

describe('without a connection', () => {
  it('a question waits visibly, can be changed, and is asked once there is one', async () => {
    const port = await freePort();
    const { client, server, storage } = await stagedChat({ port });
    const chat = createChat(client, { id: 'c' });
    chat.state$.subscribe();
    client.active$.subscribe();
    await firstValueFrom(client.connection$.pipe(filter(({ status }) => status === 'connected')));
    await server.close();
    await firstValueFrom(
      client.connection$.pipe(filter(({ status }) => status === 'reconnecting')),
    );
    void chat.send('one');
    expect(chat.getSnapshot()).toMatchObject({
      status: 'ready',
      messages: [{ text: 'one', status: 'queued' }],
    });
    void chat.edit(chat.getSnapshot().messages[0]!.id, 'uno');
    await vi.waitFor(() => expect(JSON.stringify(storage.valuesOf('n:'))).toContain('uno'));
    const { reply } = await stagedChat({ port });
    const call = await reply('A uno');
    await settled(chat);
    expect(textsOf(call.prompt)).toEqual(['uno']);
    expect(textsOf(chat.getSnapshot())).toEqual(['uno', 'A uno']);
  });

  it('a question that was asked before that was known waits, too, and can be changed and removed', async () => {
    const { server, storage, calls } = await stagedChat();
    const link = await cuttableLink(server.url);
    link.down();
    const client = openPage(link.url, storage);
    const chat = createChat(client, { id: 'c' });
    void chat.send('one');
    void chat.send('two');
    // The first question goes out before the client knows that it has no connection.
    await connectionWhen(client, ({ status }) => status === 'reconnecting');
    await chatWhen(chat, ({ messages }) => isQueued(messages[0]));
    expect(chat.getSnapshot()).toMatchObject({
      status: 'ready',
      messages: [
        { text: 'one', status: 'queued' },
        { text: 'two', status: 'queued' },
      ],
    });
    void chat.edit(chat.getSnapshot().messages[0]?.id ?? '', 'uno');
    chat.remove(chat.getSnapshot().messages.find(({ text }) => text === 'two')?.id ?? '');
    await chatWhen(chat, ({ messages }) => messages.length === 1);
    expect(chat.getSnapshot().messages).toMatchObject([{ text: 'uno', versionCount: 1 }]);
    expect(calls).toEqual([]);
  });

  it('a changed question is there after a reload, and is asked', async () => {
    const { server, storage, reply, calls } = await stagedChat();
    const link = await cuttableLink(server.url);
    link.down();
    const client = openPage(link.url, storage);
    const before = createChat(client, { id: 'c' });
    void before.send('one');
    await connectionWhen(client, ({ status }) => status === 'reconnecting');
    await vi.waitFor(() => expect(storage.valuesOf('n:')).toHaveLength(2));
    await chatWhen(before, ({ messages }) => isQueued(messages[0]));
    void before.edit(before.getSnapshot().messages[0]?.id ?? '', 'uno');
    await vi.waitFor(() => expect(JSON.stringify(storage.valuesOf('n:'))).toContain('uno'));
    const reloaded = storage.copy();
    const chat = createChat(openPage(link.url, reloaded), { id: 'c' });
    await chatWhen(chat, ({ messages }) => messages.length === 1);
    expect(chat.getSnapshot().messages).toMatchObject([{ text: 'uno', status: 'queued' }]);
    await vi.waitFor(() => expect(before.getSnapshot().messages).toHaveLength(1));
    link.up();
    await reply('A uno');
    await settled(chat);
    expect(textsOf(chat.getSnapshot())).toEqual(['uno', 'A uno']);
    expect(calls.map(({ prompt }) => textsOf(prompt))).not.toContainEqual(['one']);
  });
});

describe('drafts in two tabs', () => {
  it('do not replace each other', async () => {
    const { client, server, storage, nextCall } = await stagedChat();
    const store = createSharedStore();
    const chat = createChat(client, { id: 'c', store });
    const there = createChat(openPage(server.url, storage), { id: 'c', store });
    for (const each of [chat, there]) {
      each.state$.subscribe();
      await chatWhen(each, ({ status }) => status === 'ready');
    }
    chat.setDraft('here');
    there.setDraft('there');
    void chat.send('here');
    await nextCall();
    await chatWhen(there, ({ messages }) => messages.length === 2);
    expect(there.getSnapshot().draft).toBe('there');
    expect(chat.getSnapshot().draft).toBe('');
  });
});
