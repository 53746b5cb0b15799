import type { Client } from '@rivulet/client';
import { type ChatStore, createMemoryChatStore } from '@rivulet/client/chat';
import {
  useAnswer as useInReact,
  useChat as useChatInReact,
  useChats,
} from '@rivulet/client/react';
import {
  createAnswer as createInSolid,
  createChat as createChatInSolid,
} from '@rivulet/client/solid';
import {
  createAnswer as createInSvelte,
  createChat as createChatInSvelte,
  createChats as createChatsInSvelte,
} from '@rivulet/client/svelte';
import { useAnswer as useInVue, useChat as useChatInVue } from '@rivulet/client/vue';
import { questionOf } from '@rivulet/server';
import { createElement } from 'react';
import { renderToString as renderReact } from 'react-dom/server';
import { createRoot } from 'solid-js';
import { get } from 'svelte/store';
import { describe, expect, it, vi } from 'vitest';
import { createSSRApp, h } from 'vue';
import { renderToString as renderVue } from 'vue/server-renderer';
import { connected, sdk, staged, statusesOf } from '../harness/sdk.js';

const QUESTION = 'What is a delta?';

/** Views that ask while they are rendered; each gives its HTML. */
const VIEWS: Record<string, (client: Client) => string | Promise<string>> = {
  react(client) {
    const View = () => {
      const { state, ask } = useInReact(client);
      ask(QUESTION);
      return createElement('p', null, state.status);
    };
    return renderReact(createElement(View));
  },
  vue(client) {
    const View = {
      setup() {
        const { state, ask } = useInVue(client);
        ask(QUESTION);
        return () => h('p', state.value.status);
      },
    };
    return renderVue(createSSRApp(View));
  },
  svelte(client) {
    // The code that Svelte's compiler generates for `$answer` subscribes and unsubscribes, as `get` does.
    const answer = createInSvelte(client);
    const { status } = get(answer);
    answer.ask(QUESTION);
    get(answer);
    return `<p>${status}</p>`;
  },
  solid: (client) =>
    createRoot((dispose) => {
      const { state, ask } = createInSolid(client);
      ask(QUESTION);
      const html = `<p>${state().status}</p>`;
      dispose();
      return html;
    }),
};

describe.each(Object.entries(VIEWS))('a view in %s, rendered on a server', (_, render) => {
  it('is idle, and asks nothing', async () => {
    const { client, calls, nextCall } = await staged();
    expect(await render(client)).toBe('<p>idle</p>');
    // The model has received all earlier questions by then.
    client.start({ query: 'last' });
    (await nextCall()).finish();
    expect(calls).toHaveLength(1);
  });
});

/** Views of a chat that send, edit its draft and list chats while they are rendered; each gives its HTML. */
const CHATS: Record<string, (client: Client, store: ChatStore) => string | Promise<string>> = {
  react(client, store) {
    const View = () => {
      const { state, send, setDraft } = useChatInReact(client, { id: 'c', store });
      const { status } = useChats(client, store);
      setDraft('Where');
      void send(QUESTION);
      return createElement('p', null, `${state.id} ${state.status} ${status}`);
    };
    return renderReact(createElement(View));
  },
  vue(client, store) {
    const View = {
      setup() {
        const { state, send } = useChatInVue(client, { id: 'c', store });
        void send(QUESTION);
        return () => h('p', `${state.value.id} ${state.value.status} loading`);
      },
    };
    return renderVue(createSSRApp(View));
  },
  svelte(client, store) {
    const chat = createChatInSvelte(client, { id: 'c', store });
    get(chat);
    void chat.send(QUESTION);
    return `<p>${get(chat).id} ${get(chat).status} ${get(createChatsInSvelte(client, store)).status}</p>`;
  },
  solid: (client, store) =>
    createRoot((dispose) => {
      const { state, send } = createChatInSolid(client, { id: () => 'c', store });
      void send(QUESTION);
      const html = `<p>${state().id} ${state().status} loading</p>`;
      dispose();
      return html;
    }),
};

describe.each(Object.entries(CHATS))('a chat in %s, rendered on a server', (_, render) => {
  it('is loading, reads nothing and asks nothing', async () => {
    const { client, nextCall } = await staged();
    const used: PropertyKey[] = [];
    const store = new Proxy(createMemoryChatStore(), {
      get(target, key, receiver) {
        used.push(key);
        return Reflect.get(target, key, receiver) as unknown;
      },
    });
    expect(await render(client, store)).toBe('<p>c loading loading</p>');
    client.start({ query: 'last' });
    expect(questionOf((await nextCall()).prompt)).toBe('last');
    expect(used).toEqual([]);
  });
});

describe('client.active$, of which a page that is rendered on a server takes the value', () => {
  it('opens no socket and no store', async () => {
    const { server } = await staged();
    const getAllKeys = vi.fn<() => Promise<string[]>>().mockResolvedValue([]);
    const item = (): Promise<null> => Promise.resolve(null);
    const storage = { getAllKeys, getItem: item, setItem: item, removeItem: item };
    const client = sdk(server.url, { cache: { storage } });
    let sockets = 0;
    server.http.on('connection', () => (sockets += 1));
    const statuses = statusesOf(client);
    // The code that Svelte's compiler generates for `$active` subscribes and unsubscribes.
    client.active$.subscribe().unsubscribe();
    // Another client's connection is accepted after one that was begun before it.
    await connected(sdk(server.url));
    expect(statuses).toEqual(['idle']);
    expect(sockets).toBe(1);
    expect(getAllKeys).not.toHaveBeenCalled();

    await connected(client);
    expect(sockets).toBe(2);
    expect(getAllKeys).toHaveBeenCalled();
  });
});
