import { Component, createComponent, provideZonelessChangeDetection, signal } from '@angular/core';
import type { Client } from '@rivulet/client';
import { injectChat, injectChats } from '@rivulet/client/angular';
import type { ChatSnapshot } from '@rivulet/client/chat';
import { type ChatActions, type ChatList, useChat, useChats } from '@rivulet/client/react';
import { createChat, createChats } from '@rivulet/client/solid';
import { createMockClient, type Script } from '@rivulet/client/testing';
import { useChat as useChatInVue, useChats as useChatsInVue } from '@rivulet/client/vue';
import {
  Activity,
  createElement,
  type ReactElement,
  StrictMode,
  Suspense,
  use,
  useState,
} from 'react';
import { flushSync } from 'react-dom';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { createRoot as createSolidRoot, createSignal } from 'solid-js';
import { mount, unmount } from 'svelte';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createApp, h, ref } from 'vue';
import Chats from './views/Chats.svelte';

const SCRIPT: Script = [
  { type: 'text', text: 'Where', afterMs: 20 },
  { type: 'text', text: ' it ends.', afterMs: 1_000 },
  { type: 'end', afterMs: 20 },
];

/** The current content of a chat view, and a function that changes its id. */
interface View {
  state(): ChatSnapshot;
  list(): ChatList;
  readonly actions: ChatActions;
  setId(id: string): void;
}

function target(): HTMLElement {
  const element = document.createElement('div');
  document.body.append(element);
  onTestFinished(() => element.remove());
  return element;
}

function reactRoot(): Root {
  const root = createRoot(target());
  onTestFinished(() => root.unmount());
  return root;
}

const VIEWS: Record<string, (client: Client) => View | Promise<View>> = {
  async react(client) {
    let view: View | undefined;
    function Chat(): null {
      const [id, setId] = useState('a');
      const { state, ...actions } = useChat(client, { id });
      const list = useChats(client);
      view = {
        state: () => state,
        list: () => list,
        actions,
        setId: (next) => flushSync(() => setId(next)),
      };
      return null;
    }
    reactRoot().render(createElement(StrictMode, null, createElement(Chat)));
    await vi.waitFor(() => expect(view).toBeDefined());
    const newest = (): View => view!;
    return {
      state: () => newest().state(),
      list: () => newest().list(),
      get actions() {
        return newest().actions;
      },
      setId: (id) => newest().setId(id),
    };
  },
  vue(client) {
    const id = ref('a');
    let view: View | undefined;
    const app = createApp({
      setup() {
        const { state, ...actions } = useChatInVue(client, { id });
        const list = useChatsInVue(client);
        view = {
          state: () => state.value,
          list: () => list.value,
          actions,
          setId: (next) => (id.value = next),
        };
        return () => h('p', state.value.id);
      },
    });
    app.mount(target());
    onTestFinished(() => app.unmount());
    return view!;
  },
  svelte(client) {
    let view: View | undefined;
    const ready = (made: View): void => void (view = made);
    const chat = mount(Chats, { target: target(), props: { client, ready } });
    onTestFinished(() => unmount(chat));
    return view!;
  },
  solid: (client) =>
    createSolidRoot((dispose) => {
      onTestFinished(dispose);
      const [id, setId] = createSignal('a');
      const { state, ...actions } = createChat(client, { id });
      return { state, list: createChats(client), actions, setId };
    }),
  async angular(client) {
    // The other package needs it from the start.
    await import('@angular/compiler');
    const { createApplication } = await import('@angular/platform-browser');
    const id = signal('a');
    let view: View | undefined;
    const Chat = Component({ selector: 'test-chat', template: '{{ state().id }}' })(
      class {
        readonly state;
        constructor() {
          const { state, ...actions } = injectChat(client, { id });
          this.state = state;
          view = { state, list: injectChats(client), actions, setId: (next) => id.set(next) };
        }
      },
    );
    const app = await createApplication({ providers: [provideZonelessChangeDetection()] });
    const chat = createComponent(Chat, {
      environmentInjector: app.injector,
      hostElement: target(),
    });
    app.attachView(chat.hostView);
    onTestFinished(() => app.destroy());
    return view!;
  },
};

const textsOf = ({ messages }: ChatSnapshot): string[] => messages.map(({ text }) => text);

describe.each(Object.entries(VIEWS))('a chat in %s', (_, open) => {
  it('shows another chat when its id changes, acts on that, and loses nothing of the first', async () => {
    const asked: string[] = [];
    const client = createMockClient(({ query }) => {
      asked.push(query);
      return SCRIPT;
    });
    const view = await open(client);
    await vi.waitFor(() => expect(view.state()).toMatchObject({ id: 'a', status: 'ready' }));
    const { send } = view.actions;
    void send('of a');
    await vi.waitFor(() => expect(textsOf(view.state())).toEqual(['of a', 'Where']));
    view.setId('b');
    await vi.waitFor(() => expect(view.state()).toMatchObject({ id: 'b', messages: [] }));
    view.actions.setDraft('of b');
    await vi.waitFor(() => expect(view.state().draft).toBe('of b'));
    void view.actions.send('of b');
    await vi.waitFor(() => expect(textsOf(view.state())).toEqual(['of b', 'Where it ends.']));
    view.setId('a');
    await vi.waitFor(() => expect(textsOf(view.state())).toEqual(['of a', 'Where it ends.']));
    expect(asked).toEqual(['of a', 'of b']);
    await vi.waitFor(() =>
      expect(new Set(view.list().chats.map(({ title }) => title))).toEqual(new Set(asked)),
    );
  });
});

describe('useChat', () => {
  it('is the same while an <Activity> hides its view, and behind a <Suspense>', async () => {
    const client = createMockClient(SCRIPT);
    let chat: ReturnType<typeof useChat> | undefined;
    let resolve = (): void => {};
    const loaded = new Promise<void>((done) => (resolve = done));
    function View(): null {
      chat = useChat(client, { id: 'c' });
      use(loaded);
      return null;
    }
    const root = reactRoot();
    const draw = (mode: 'visible' | 'hidden'): void =>
      flushSync(() =>
        root.render(
          createElement(
            StrictMode,
            null,
            createElement(Activity, {
              mode,
              children: createElement(Suspense, { children: createElement(View) }),
            }),
          ),
        ),
      );
    draw('visible');
    await vi.waitFor(() => expect(chat).toBeDefined());
    resolve();
    await vi.waitFor(() => expect(chat?.state.status).toBe('ready'));
    const answer = await chat?.send('What is a delta?');
    await vi.waitFor(() => expect(chat?.state.status).toBe('streaming'));
    draw('hidden');
    expect(await answer?.result).toMatchObject({ text: 'Where it ends.' });
    draw('visible');
    await vi.waitFor(() =>
      expect(textsOf(chat!.state)).toEqual(['What is a delta?', 'Where it ends.']),
    );
  });

  it('hydrates what a server rendered, also when the chat is shown elsewhere in the page', async () => {
    const client = createMockClient(SCRIPT);
    let chat: ReturnType<typeof useChat> | undefined;
    function View(): ReactElement {
      chat = useChat(client, { id: 'c' });
      return createElement('p', null, `${chat.state.status} ${chat.state.messages.length}`);
    }
    reactRoot().render(createElement(View));
    await vi.waitFor(() => expect(chat?.state.status).toBe('ready'));
    await (
      await chat!.send('What is a delta?')
    ).result;
    const page = target();
    page.innerHTML = '<p>loading 0</p>';
    const errors: unknown[] = [];
    const root = hydrateRoot(page, createElement(View), {
      onRecoverableError: (error) => errors.push(error),
    });
    onTestFinished(() => root.unmount());
    await vi.waitFor(() => expect(page.textContent).toBe('ready 2'));
    expect(errors).toEqual([]);
  });

  it('renders once a frame at most while text comes', async () => {
    const client = createMockClient([
      ...Array.from({ length: 200 }, () => ({ type: 'text', text: '.', afterMs: 2 }) as const),
      { type: 'end' },
    ]);
    let renders = 0;
    let chat: ReturnType<typeof useChat> | undefined;
    function View(): null {
      renders += 1;
      chat = useChat(client);
      return null;
    }
    reactRoot().render(createElement(View));
    await vi.waitFor(() => expect(chat?.state.id).toBeTruthy());
    let frames = 0;
    const count = (): void => {
      frames += 1;
      handle = requestAnimationFrame(count);
    };
    let handle = requestAnimationFrame(count);
    onTestFinished(() => cancelAnimationFrame(handle));
    renders = 0;
    const startedAt = performance.now();
    await (
      await chat!.send('q')
    ).result;
    // Text that has waited for 100 ms does not wait for a frame.
    expect(renders).toBeLessThanOrEqual(frames + (performance.now() - startedAt) / 100 + 5);
    await vi.waitFor(() => expect(textsOf(chat!.state).at(-1)).toHaveLength(200));
  });
});
