import { type Client, type ClientOptions, createClient } from '@rivulet/client';
import { entries, createStore, set } from 'idb-keyval';
import { beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest';

let namespace: string;
beforeEach(() => {
  namespace = crypto.randomUUID();
});

/** A client of its own user. Its socket is new, so that it must connect if it is to ask. */
function open(options: ClientOptions = {}): Client {
  const client = createClient({ url: inject('url'), cache: { namespace }, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Once the answer is in IndexedDB. */
async function kept(count: number): Promise<void> {
  const store = createStore(`rivulet:${namespace}`, 'answers');
  await vi.waitFor(async () => {
    const keys = (await entries(store)).map(([key]) => String(key));
    expect(keys.filter((key) => /^[bm]:/.test(key))).toHaveLength(2 * count);
  });
}

async function ask(client: Client, query: string, options = {}) {
  const { text, source } = await client.start({ query, options }).result;
  return { text, source };
}

describe('the browser cache', () => {
  it('answers a question asked again, and the server hears nothing of it', async () => {
    const first = await ask(open(), 'What is a delta?');
    expect(first.source).toBe('model');
    await kept(1);
    for (let i = 0; i < 3; i++) {
      expect(await ask(open(), 'What is a delta?')).toEqual({
        text: first.text,
        source: 'browser-cache',
      });
    }
    const count = (text: string): number => Number.parseInt(text, 10);
    const next = await ask(open(), 'What is a delta?', { cache: 'reload' });
    expect(count(next.text)).toBe(count(first.text) + 1);
  });

  it('keeps another user’s answers apart, and those to another question', async () => {
    await ask(open(), 'Mine?');
    await kept(1);
    const other = open({ cache: { namespace: `${namespace}-other` } });
    expect((await ask(other, 'Mine?')).source).toBe('model');
    expect((await ask(open(), 'Mine? ')).source).toBe('model');
    expect((await ask(open(), 'Mine?', { temperature: 1 })).source).toBe('model');
  });

  it('has the words of fetch', async () => {
    const client = open();
    const { text: first } = await ask(client, 'Again?');
    await kept(1);
    const { text: second } = await ask(client, 'Again?', { cache: 'no-store' });
    expect(second).not.toBe(first);
    expect(await ask(client, 'Again?')).toEqual({ text: first, source: 'browser-cache' });
    const { text: third } = await ask(client, 'Again?', { cache: 'reload' });
    await vi.waitFor(async () => {
      expect(await ask(client, 'Again?', { cache: 'only-if-cached' })).toEqual({
        text: third,
        source: 'browser-cache',
      });
    });
    await expect(ask(client, 'Never?', { cache: 'only-if-cached' })).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('keeps nothing that did not end with `stop`, nor what was stopped', async () => {
    const client = open();
    await ask(client, 'This is cut off');
    const stopped = client.start({ query: 'one two three four five six seven eight' });
    await new Promise<void>((resolve) => {
      stopped.text$.subscribe((text) => text !== '' && resolve());
    });
    stopped.cancel();
    await stopped.result;
    await ask(client, 'This is kept');
    await kept(1);
  });

  it('keeps no more answers than it may, and lets the least recently used go', async () => {
    const client = open({ cache: { namespace, maxEntries: 2 } });
    await ask(client, 'a');
    await kept(1);
    await ask(client, 'b');
    await kept(2);
    // Uses `a`, so that `b` is the older one.
    await ask(client, 'a');
    await new Promise((resolve) => requestIdleCallback(resolve));
    await ask(client, 'c');
    await vi.waitFor(async () => {
      await expect(ask(client, 'b', { cache: 'only-if-cached' })).rejects.toThrow();
    });
    expect((await ask(client, 'a', { cache: 'only-if-cached' })).source).toBe('browser-cache');
    await kept(2);
  });

  it('gives nothing that is older than it may be', async () => {
    await ask(open(), 'Old?');
    await kept(1);
    const now = Date.now();
    const clock = vi.spyOn(Date, 'now').mockReturnValue(now + 86_400_000 + 1);
    onTestFinished(() => clock.mockRestore());
    expect((await ask(open(), 'Old?')).source).toBe('model');
  });

  it('drops what it cannot read, and asks', async () => {
    await ask(open(), 'Corrupt?');
    await kept(1);
    const store = createStore(`rivulet:${namespace}`, 'answers');
    for (const [key] of await entries(store)) await set(key, { text: 7 }, store);
    expect((await ask(open(), 'Corrupt?')).source).toBe('model');
  });

  it('is empty after `clear`', async () => {
    const client = open();
    await ask(client, 'Clear?');
    await kept(1);
    await client.cache.clear();
    await kept(0);
    expect((await ask(client, 'Clear?')).source).toBe('model');
  });

  it('is a miss, and no failure, where IndexedDB does not open', async () => {
    const spy = vi.spyOn(indexedDB, 'open').mockImplementation(() => {
      throw new DOMException('denied', 'SecurityError');
    });
    onTestFinished(() => spy.mockRestore());
    expect((await ask(open(), 'Denied?')).source).toBe('model');
  });
});

describe('a browser', () => {
  it('names itself by the same secret in all its clients', async () => {
    // It sends on: the test runner's own socket is one of those it sees.
    const send = vi.spyOn(WebSocket.prototype, 'send');
    onTestFinished(() => send.mockRestore());
    open().connection$.subscribe();
    open().connection$.subscribe();
    const named = (): (string | undefined)[] =>
      send.mock.calls.flatMap(([packet]) => {
        const own = typeof packet === 'string' && /^40\{"browser_id":"(\w+)"/.exec(packet);
        return own ? own[1] : [];
      });
    await vi.waitFor(() => expect(named()).toHaveLength(2));
    const own = localStorage.getItem('rivulet:browser-id');
    expect(own).toMatch(/^[0-9a-f]{32}$/);
    expect(named()).toEqual([own, own]);
  });
});
