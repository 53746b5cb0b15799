import { createChat, createMemoryChatStore } from '@rivulet/client/chat';
import { createMockClient } from '@rivulet/client/testing';
import { questionOf } from '@rivulet/server';
import { filter, firstValueFrom, map } from 'rxjs';
import { describe, expect, it } from 'vitest';
import {
  observeChatList,
  createChatController,
} from '../../packages/client/src/bindings/chat-controller.js';
import { stagedChat, textsOf } from '../harness/chat.js';
import { virtual } from '../harness/virtual.js';

type Controller = ReturnType<typeof createChatController>;

const stateWhen = ({ state$ }: Controller, text: string, status = 'ready') =>
  firstValueFrom(state$.pipe(filter((s) => s.status === status && textsOf(s).at(-1) === text)));

describe('a view of a chat', () => {
  it('shows a draft in the turn in which it is written, and never an older one', async () => {
    const { client } = await stagedChat();
    const controller = createChatController(client, { id: 'c' });
    const drafts: string[] = [];
    controller.state$.subscribe(({ draft }) => drafts.push(draft));
    const { setDraft } = controller.actions;
    for (const draft of ['W', 'Wh', 'Whe']) {
      setDraft(draft);
      expect(drafts.at(-1)).toBe(draft);
      expect(controller.getSnapshot().draft).toBe(draft);
    }
    // The frame, and what the store restored.
    await firstValueFrom(controller.state$.pipe(filter(({ status }) => status === 'ready')));
    expect(new Set(drafts)).toEqual(new Set(['', 'W', 'Wh', 'Whe']));
    expect(drafts.slice(drafts.indexOf('Whe'))).not.toContain('W');
    expect(drafts.at(-1)).toBe('Whe');
  });

  it('changes once a frame while text comes', () => {
    virtual(({ flush }) => {
      const text = { type: 'text', text: '.', afterMs: 1 } as const;
      const client = createMockClient([
        ...Array.from({ length: 250 }, () => text),
        { type: 'end' },
      ]);
      const { state$, actions } = createChatController(client);
      const lengths: number[] = [];
      state$.subscribe((state) => lengths.push(textsOf(state).at(-1)?.length ?? -1));
      void actions.send('q');
      flush();
      expect(lengths.at(-1)).toBe(250);
      // Without animation frames, the page renders once in 100 ms.
      expect(lengths.length).toBeLessThan(10);
    });
  });

  it('asks nothing before it is mounted, and then once, when it is mounted twice as StrictMode does', async () => {
    const { client, calls, nextCall, storage } = await stagedChat();
    const controller = createChatController(client, { id: 'c' });
    const answer = controller.actions.send('one');
    controller.actions.setDraft('two');
    await new Promise((resolve) => setImmediate(resolve));
    expect(controller.getSnapshot()).toMatchObject({ status: 'loading', messages: [], draft: '' });
    expect(storage.items.size).toBe(0);
    controller.state$.subscribe().unsubscribe();
    controller.state$.subscribe();
    const call = await nextCall();
    call.say('A one');
    call.finish();
    expect(await (await answer).result).toMatchObject({ text: 'A one' });
    expect(await stateWhen(controller, 'A one')).toMatchObject({ draft: 'two' });
    expect(calls).toHaveLength(1);
  });

  it('is the same on a server and first in the page', async () => {
    const { client } = await stagedChat();
    for (const id of ['c', undefined]) {
      const [there, here] = [1, 2].map(() => createChatController(client, { id }));
      expect(here!.getSnapshot()).toEqual(there!.getServerSnapshot());
    }
    expect(createChatController(client, { id: 'c' }).getSnapshot().status).toBe('loading');
    expect(createChatController(client).getSnapshot()).toMatchObject({ id: '', status: 'ready' });
  });

  it('shows another chat, acts on it from then on, and leaves the answer of the first under way', async () => {
    const { client, nextCall } = await stagedChat();
    const controller = createChatController(client, { id: 'a' });
    const seen: string[] = [];
    controller.state$.subscribe(({ id }) => seen.push(id));
    void controller.actions.send('of a');
    const call = await nextCall();
    controller.show('b');
    expect(controller.getSnapshot()).toMatchObject({ id: 'b', messages: [] });
    call.say('A a');
    void controller.actions.send('of b');
    const other = await nextCall();
    expect(questionOf(other.prompt)).toBe('of b');
    other.say('A b');
    other.finish();
    call.finish();
    expect(textsOf(await stateWhen(controller, 'A b'))).toEqual(['of b', 'A b']);
    expect(seen.lastIndexOf('a')).toBeLessThan(seen.indexOf('b'));
    controller.show('a');
    expect(textsOf(await stateWhen(controller, 'A a'))).toEqual(['of a', 'A a']);
  });

  it('shares its chat with other views, also after both were unmounted', async () => {
    const { client, reply, calls } = await stagedChat();
    const [one, two] = [1, 2].map(() => createChatController(client, { id: 'c' }));
    const mounted = [one!, two!].map(({ state$ }) => state$.subscribe());
    void one!.actions.send('one');
    await reply('A one');
    expect(await stateWhen(two!, 'A one')).toBe(await stateWhen(one!, 'A one'));
    for (const subscription of mounted) subscription.unsubscribe();
    expect(textsOf(createChatController(client, { id: 'c' }).getSnapshot())).toEqual([
      'one',
      'A one',
    ]);
    expect(calls).toHaveLength(1);
  });
});

describe('a list of chats', () => {
  it('is loading, then follows the chats', async () => {
    const { client, reply } = await stagedChat();
    const seen: unknown[] = [];
    const listed = firstValueFrom(
      observeChatList(client, undefined).pipe(
        map((list) => {
          seen.push([list.status, list.chats.map(({ title }) => title)]);
          return list.chats.length;
        }),
        filter(Boolean),
      ),
    );
    const chat = createChat(client, { id: 'c' });
    void chat.send('one');
    await reply('A one');
    await listed;
    expect(seen.at(0)).toEqual(['loading', []]);
    expect(seen.at(-1)).toEqual(['ready', ['one']]);
  });

  it('says that the store cannot be read', async () => {
    const { client } = await stagedChat();
    const error = new Error('unable to read: no');
    const store = { ...createMemoryChatStore(), list: () => Promise.reject(error) };
    const last = firstValueFrom(
      observeChatList(client, store).pipe(filter(({ status }) => status !== 'loading')),
    );
    expect(await last).toEqual({ status: 'failed', chats: [], error });
  });
});
