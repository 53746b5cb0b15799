import type { Client } from '@rivulet/client';
import { useAnswer as useInReact } from '@rivulet/client/react';
import { createAnswer as createInSolid } from '@rivulet/client/solid';
import { createAnswer as createInSvelte } from '@rivulet/client/svelte';
import { useAnswer as useInVue } from '@rivulet/client/vue';
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
    // What Svelte's compiler makes of `$answer` subscribes and leaves, as `get` does.
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
    // Whatever was asked before it has reached the model before it.
    client.start({ query: 'last' });
    (await nextCall()).finish();
    expect(calls).toHaveLength(1);
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
    // What Svelte's compiler makes of `$active` subscribes and leaves.
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
