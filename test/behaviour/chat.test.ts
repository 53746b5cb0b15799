import {
  type AssistantMessage,
  type Chat,
  type ChatMessage,
  createChat,
  listChats,
} from '@rivulet/client/chat';
import { ProviderError } from '@rivulet/server';
import { firstValueFrom, type Observable } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import { chatWhen, newestAnswer, openPage, settled, stagedChat, textsOf } from '../harness/chat.js';
import { startServer } from '../harness/rivulet.js';
import { sdk } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const newestOf = (messages: readonly ChatMessage[]): AssistantMessage | undefined =>
  messages.findLast((message) => message.role === 'assistant');

/** A chat with an exchange for each question; the answer to `q` is `A q`. */
async function talked(...questions: string[]) {
  const all = await stagedChat();
  const chat = createChat(all.client, { id: 'c' });
  for (const question of questions) {
    void chat.send(question);
    await all.reply(`A ${question}`);
    await settled(chat);
  }
  return { ...all, chat };
}

const idOf = (chat: Chat, text: string): string =>
  chat.getSnapshot().messages.find((message) => message.text === text)?.id ?? 'none';

describe('a chat', () => {
  it('asks with the messages before, and shows each answer as it grows', async () => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client);
    expect(chat.getSnapshot()).toMatchObject({ status: 'ready', messages: [], draft: '' });
    const answer = await chat.send('What is a delta?');
    expect(chat.getSnapshot().status).toBe('waiting');
    const first = await nextCall();
    first.say('Where a river');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    expect(textsOf(chat.getSnapshot())).toEqual(['What is a delta?', 'Where a river']);
    first.say(' ends.');
    first.finish();
    expect(await answer.result).toMatchObject({ status: 'done', text: 'Where a river ends.' });
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({
      text: 'Where a river ends.',
      ending: 'complete',
      canContinue: false,
      answer: { provider: 'stage', finishReason: 'stop' },
    });
    void chat.send('And a mouth?');
    const second = await nextCall();
    expect(second.prompt.messages).toMatchObject([
      { role: 'user', text: 'What is a delta?' },
      { role: 'assistant', text: 'Where a river ends.' },
      { role: 'user', text: 'And a mouth?' },
    ]);
  });

  it('does nothing until it is used', async () => {
    const { client, calls, storage } = await stagedChat();
    createChat(client, { id: 'c' });
    createChat(client).getSnapshot();
    await new Promise((resolve) => setImmediate(resolve));
    expect(calls).toEqual([]);
    expect(storage.items.size).toBe(0);
    expect(client.connection$).toBeDefined();
  });

  it('gives the same frozen objects until they change', async () => {
    const { chat, nextCall } = await talked('one', 'two');
    const before = chat.getSnapshot().messages;
    void chat.send('three');
    const call = await nextCall();
    call.say('A');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    const after = chat.getSnapshot().messages;
    expect(after).toHaveLength(6);
    for (const [i, message] of before.entries()) expect(after[i]).toBe(message);
    expect(after.every((message) => Object.isFrozen(message))).toBe(true);
    expect(chat.getSnapshot()).toBe(chat.getSnapshot());
  });

  it('is the same chat for the same id while it is used', async () => {
    const { chat, client } = await talked('one');
    const subscription = chat.state$.subscribe();
    expect(createChat(client, { id: 'c' })).toBe(chat);
    subscription.unsubscribe();
  });

  it('has Observables that do not complete when the client is closed, because it can still be changed', async () => {
    const { client } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    const drafts: string[] = [];
    const onEnd = vi.fn<() => void>();
    chat.draft$.subscribe((draft) => drafts.push(draft));
    const all: Observable<unknown>[] = [chat.state$, chat.messages$, chat.status$, chat.draft$];
    for (const values$ of all) values$.subscribe({ error: onEnd, complete: onEnd });
    client.close();
    chat.setDraft('What is');
    expect(drafts).toEqual(['', 'What is']);
    expect(onEnd).not.toHaveBeenCalled();
  });

  it('is the same chat for the same id before it is used and after', async () => {
    const { client, reply } = await stagedChat();
    const chat = createChat(client, { id: 'c' });
    expect(createChat(client, { id: 'c' })).toBe(chat);
    void chat.send('one');
    await reply('A one');
    await settled(chat);
    await vi.waitFor(async () => {
      const [listed] = await firstValueFrom(listChats(client));
      expect(listed).toMatchObject({ id: 'c' });
    });
    expect(createChat(client, { id: 'c' })).toBe(chat);
    expect(createChat(client, { id: 'd' })).not.toBe(chat);
  });

  it.each([
    ['a blank question', ' \n', 'bad_request'],
    ['a question that is too long', 'x'.repeat(32_769), 'bad_request'],
  ])('refuses %s and keeps the draft', async (_, text, code) => {
    const { client, calls } = await stagedChat();
    const chat = createChat(client);
    chat.setDraft(text);
    await expect(chat.send(text)).rejects.toMatchObject({ code });
    expect(chat.getSnapshot()).toMatchObject({ draft: text, messages: [] });
    expect(calls).toEqual([]);
  });
});

describe('versions', () => {
  it('keeps an edited question with what followed it, and shows either', async () => {
    const { chat, reply } = await talked('one', 'two');
    void chat.edit(idOf(chat, 'one'), 'uno');
    const call = await reply('A uno');
    await settled(chat);
    expect(call.prompt.messages).toMatchObject([{ text: 'uno' }]);
    expect(textsOf(chat.getSnapshot())).toEqual(['uno', 'A uno']);
    const [edited] = chat.getSnapshot().messages;
    expect(edited).toMatchObject({ version: 1, versionCount: 2 });
    chat.selectVersion(idOf(chat, 'uno'), 0);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one', 'two', 'A two']);
    chat.selectVersion(idOf(chat, 'one'), 1);
    expect(textsOf(chat.getSnapshot())).toEqual(['uno', 'A uno']);
    expect(() => chat.selectVersion(idOf(chat, 'uno'), 2)).toThrow(/none|no version/);
  });

  it('generates an answer again past the caches, and keeps what followed the other one', async () => {
    const { chat, reply, nextCall } = await talked('one', 'two');
    const first = idOf(chat, 'A one');
    void chat.regenerate(first);
    await reply('B one');
    await settled(chat);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'B one']);
    expect(newestAnswer(chat)).toMatchObject({ version: 1, versionCount: 2 });
    chat.selectVersion(idOf(chat, 'B one'), 0);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one', 'two', 'A two']);
    void chat.send('three');
    const { prompt } = await nextCall();
    expect(textsOf(prompt)).toEqual(['one', 'A one', 'two', 'A two', 'three']);
  });

  it('refuses to generate an answer of a branch that is not visible', async () => {
    const { chat, calls } = await talked('one', 'two');
    const hidden = idOf(chat, 'A two');
    void chat.edit(idOf(chat, 'one'), 'uno');
    await chatWhen(chat, ({ messages }) => messages.length === 2);
    await expect(chat.regenerate(hidden)).rejects.toMatchObject({ code: 'not_found' });
    await expect(chat.retry('none')).rejects.toMatchObject({ code: 'not_found' });
    expect(calls.length).toBeLessThanOrEqual(3);
  });

  it('retries a failed answer: one without text is replaced, one with text stays a version', async () => {
    const { client, nextCall, reply } = await stagedChat();
    const chat = createChat(client);
    void chat.send('one');
    (await nextCall()).fail(new Error('broken'));
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ ending: 'failed', text: '', canContinue: false });
    expect(newestAnswer(chat).answer.error?.code).toBe('internal');
    void chat.retry();
    const call = await nextCall();
    call.say('Half');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    call.fail(new Error('broken'));
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({
      ending: 'failed',
      text: 'Half',
      versionCount: 1,
      answer: { error: { partialText: 'Half' } },
    });
    void chat.retry();
    await reply('Whole');
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ text: 'Whole', version: 1, versionCount: 2 });
  });
});

describe('what is sent while an answer is under way', () => {
  it('waits for it, can be edited and removed, and is asked in order', async () => {
    const { client, nextCall, calls } = await stagedChat();
    const chat = createChat(client);
    void chat.send('one');
    const first = await nextCall();
    const second = chat.send('two');
    const third = chat.send('three');
    const fourth = chat.send('four');
    expect(chat.getSnapshot().messages.slice(2)).toMatchObject([
      { text: 'two', status: 'queued' },
      { text: 'three', status: 'queued' },
      { text: 'four', status: 'queued' },
    ]);
    const edited = chat.edit(idOf(chat, 'three'), 'drei');
    await expect(third).rejects.toMatchObject({ code: 'cancelled' });
    chat.remove(idOf(chat, 'four'));
    chat.remove('none');
    await expect(fourth).rejects.toThrow('the question was removed');
    expect(calls).toHaveLength(1);
    first.say('A one');
    first.finish();
    const call = await nextCall();
    expect(call.prompt.messages.at(-1)).toMatchObject({ text: 'two' });
    call.say('A two');
    call.finish();
    expect(await (await second).result).toMatchObject({ text: 'A two' });
    const last = await nextCall();
    expect(textsOf(last.prompt)).toEqual(['one', 'A one', 'two', 'A two', 'drei']);
    last.say('A three');
    last.finish();
    expect(await (await edited).result).toMatchObject({ text: 'A three' });
    await settled(chat);
    expect(calls).toHaveLength(3);
  });

  it('is asked when the answer is stopped', async () => {
    const { client, nextCall, calls } = await stagedChat();
    const chat = createChat(client);
    void chat.send('one');
    const first = await nextCall();
    void chat.send('two');
    void chat.send('three');
    chat.stop();
    await first.aborted;
    const second = await nextCall();
    expect(textsOf(second.prompt).at(-1)).toBe('two');
    expect(chat.getSnapshot().messages).toMatchObject([
      { text: 'one' },
      { ending: 'stopped' },
      { text: 'two', status: 'sent' },
      { ending: undefined },
      { text: 'three', status: 'queued' },
    ]);
    expect(calls).toHaveLength(2);
  });

  it('is refused once the client is closed', async () => {
    const { client } = await stagedChat();
    const chat = createChat(client);
    client.close();
    await expect(chat.send('one')).rejects.toMatchObject({ code: 'cancelled' });
    expect(chat.getSnapshot().messages).toEqual([]);
  });

  it('replaces it with onBusy replace; its text stays', async () => {
    const { client, nextCall, reply } = await stagedChat();
    const chat = createChat(client, { onBusy: 'replace' });
    void chat.send('one');
    const first = await nextCall();
    first.say('Half');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    void chat.send('two');
    await first.aborted;
    await reply('A two');
    await settled(chat);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'Half', 'two', 'A two']);
    expect(chat.getSnapshot().messages[1]).toMatchObject({ ending: 'stopped' });
  });

  it('is refused with onBusy reject', async () => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client, { onBusy: 'reject' });
    void chat.send('one');
    const call = await nextCall();
    await expect(chat.send('two')).rejects.toMatchObject({ code: 'conflict' });
    call.say('A one');
    call.finish();
    await settled(chat);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one']);
  });
});

describe('the signal of a question', () => {
  it('stops its answer, and not the answer of a retry', async () => {
    const { client, nextCall, reply } = await stagedChat();
    const chat = createChat(client);
    const abort = new AbortController();
    void chat.send({ text: 'one', options: { signal: abort.signal } });
    const call = await nextCall();
    call.say('Half');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    abort.abort();
    await call.aborted;
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ text: 'Half', ending: 'stopped' });
    void chat.retry();
    await reply('A one');
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ text: 'A one', ending: 'complete' });
  });

  it.each(['send', 'edit'])('removes it while it is queued, after %s', async (how) => {
    const { client, nextCall, calls } = await stagedChat();
    const chat = createChat(client);
    chat.state$.subscribe();
    void chat.send('one');
    const call = await nextCall();
    const abort = new AbortController();
    let sent = chat.send({ text: 'two', options: { signal: abort.signal } });
    if (how === 'edit') sent = chat.edit(idOf(chat, 'two'), 'zwei');
    abort.abort();
    await expect(sent).rejects.toMatchObject({ code: 'cancelled' });
    call.say('A one');
    call.finish();
    await settled(chat);
    expect(textsOf(chat.getSnapshot())).toEqual(['one', 'A one']);
    expect(calls).toHaveLength(1);
  });

  it('is refused if it is aborted already', async () => {
    const { client } = await stagedChat();
    const chat = createChat(client);
    const sent = chat.send({ text: 'one', options: { signal: AbortSignal.abort() } });
    await expect(sent).rejects.toMatchObject({ code: 'cancelled' });
    expect(chat.getSnapshot().messages).toEqual([]);
  });
});

describe('endings', () => {
  it.each([
    ['stop', 'Whole.', 'complete', false],
    ['length', 'Half', 'length', true],
    ['other', 'Half', 'other', true],
  ] as const)('tells %s', async (reason, text, ending, canContinue) => {
    const { client, reply } = await stagedChat();
    const chat = createChat(client);
    void chat.send('q');
    await reply(text, reason);
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ ending, canContinue, text });
  });

  it('tells that the provider refused the content', async () => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client);
    void chat.send('q');
    const call = await nextCall();
    call.say('Half');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    call.fail(new ProviderError('content_filter', 'unable to answer: the content was refused'));
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ ending: 'filtered', text: 'Half' });
  });

  it('tells that a user stopped it, and when the last text came', async () => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client);
    const before = Date.now();
    void chat.send('q');
    const call = await nextCall();
    expect(newestAnswer(chat).lastTextAt).toBeUndefined();
    call.say('Half');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    expect(newestAnswer(chat).lastTextAt).toBeGreaterThanOrEqual(before);
    chat.stop();
    await call.aborted;
    expect(chat.getSnapshot().status).toBe('ready');
    expect(newestAnswer(chat)).toMatchObject({
      ending: 'stopped',
      text: 'Half',
      canContinue: true,
    });
  });

  it('tells that it was stopped by its handle', async () => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client);
    const answer = await chat.send('q');
    await nextCall();
    answer.cancel();
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ ending: 'stopped', canContinue: false });
  });

  it('reads an answer to its end when its handle is released', async () => {
    const { client, reply } = await stagedChat();
    const chat = createChat(client);
    (await chat.send('q')).release();
    await reply('Whole.');
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({ text: 'Whole.', ending: 'complete' });
  });
});

describe('continuing', () => {
  it.each([
    ['a length limit', 'length'],
    ['a stop', 'stop'],
  ] as const)('goes on after %s: the join is exact, the parts stay apart', async (_, how) => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client);
    void chat.send('one');
    const first = await nextCall();
    first.say('Where a riv');
    await chatWhen(chat, ({ status }) => status === 'streaming');
    if (how === 'length') first.finish('length');
    else chat.stop();
    await settled(chat);
    expect(newestAnswer(chat).canContinue).toBe(true);
    void chat.continue();
    const second = await nextCall();
    expect(second.prompt.messages).toMatchObject([
      { role: 'user', text: 'one' },
      { role: 'assistant', text: 'Where a riv' },
    ]);
    expect(newestAnswer(chat)).toMatchObject({ text: 'Where a riv', ending: undefined });
    second.say('er ends');
    await chatWhen(chat, ({ messages }) => messages[1]?.text === 'Where a river ends');
    second.say('. ');
    second.finish('length');
    await settled(chat);
    void chat.continue();
    const third = await nextCall();
    third.say(' Yes.');
    third.finish();
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({
      text: 'Where a river ends.  Yes.',
      ending: 'complete',
      versionCount: 1,
      parts: [{ text: 'Where a riv' }, { text: 'er ends. ' }, { text: ' Yes.' }],
    });
    void chat.send('two');
    expect(textsOf((await nextCall()).prompt)).toEqual(['one', 'Where a river ends.  Yes.', 'two']);
  });

  it('says so where no provider can, keeps the text, and offers it no more', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer({ ...provider, canContinue: false });
    const chat = createChat(sdk(server.url));
    void chat.send('one');
    const first = await nextCall();
    first.say('Half');
    first.finish('length');
    await settled(chat);
    const answer = await chat.continue();
    await expect(answer.result).rejects.toMatchObject({ code: 'unsupported' });
    await settled(chat);
    expect(newestAnswer(chat)).toMatchObject({
      text: 'Half',
      ending: 'failed',
      canContinue: false,
      answer: { error: { code: 'unsupported' } },
    });
  });

  it('refuses an answer without text', async () => {
    const { client, nextCall } = await stagedChat();
    const chat = createChat(client);
    void chat.send('one');
    await nextCall();
    chat.stop();
    await expect(chat.continue()).rejects.toMatchObject({ code: 'bad_request' });
  });
});

describe('thoughts', () => {
  it('come beside the text, stay after a reload, and are no part of the context', async () => {
    const { client, nextCall, server, storage } = await stagedChat();
    const chat = createChat(client, { id: 'c', options: { thoughts: true } });
    void chat.send('one');
    const call = await nextCall();
    call.think('Rivers end in');
    await chatWhen(chat, ({ messages }) => newestOf(messages)?.answer.thoughts === 'Rivers end in');
    expect(chat.getSnapshot().status).toBe('waiting');
    call.say('A delta.');
    call.finish();
    await settled(chat);
    await vi.waitFor(() => expect(JSON.stringify(storage.valuesOf('n:'))).toContain('A delta.'));
    client.close();
    const next = createChat(openPage(server.url, storage), { id: 'c' });
    await settled(next);
    expect(newestAnswer(next)).toMatchObject({
      text: 'A delta.',
      answer: { thoughts: 'Rivers end in' },
    });
    void next.send('two');
    expect(textsOf((await nextCall()).prompt)).toEqual(['one', 'A delta.', 'two']);
  });
});

describe('the context', () => {
  it('is trimmed from the oldest message on, and says how many were left out', async () => {
    const { client, reply } = await stagedChat();
    const chat = createChat(client);
    const long = 'x'.repeat(30_000);
    for (let i = 0; i < 5; i++) {
      void chat.send(`${i}${long}`);
      await reply(`A ${i}`);
      await settled(chat);
    }
    void chat.send('last');
    const call = await reply('A last');
    await settled(chat);
    // Four long questions fit into 131,072 units, and their answers.
    expect(call.prompt.messages).toHaveLength(9);
    expect(chat.getSnapshot().omittedMessages).toBe(2);
  });
});

describe('a draft', () => {
  it('is cleared by sending it', async () => {
    const { client } = await stagedChat();
    const chat = createChat(client);
    const drafts: string[] = [];
    chat.draft$.subscribe((draft) => drafts.push(draft));
    chat.setDraft('Wh');
    chat.setDraft('What?');
    void chat.send('What?');
    expect(drafts).toEqual(['', 'Wh', 'What?', '']);
  });
});
