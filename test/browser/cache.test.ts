import { entries, keys, set, setMany } from 'idb-keyval';
import type { CachedAnswer } from '../../packages/client/src/cache/response-cache.js';
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { ask, hasPrefix, idle, kept, open, ownNamespace, ownStore } from './own-user.js';

describe('the browser cache', () => {
  it('answers a question asked again, and the server hears nothing of it', async () => {
    const first = await ask(open(), 'What is a delta?');
    expect(first.source).toBe('model');
    await kept('What is a delta?');
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

  it('says who gave the answer that was kept', async () => {
    await open().start({ query: 'Who?' }).result;
    await kept('Who?');
    expect(await open().start({ query: 'Who?' }).result).toMatchObject({
      source: 'browser-cache',
      provider: 'scripted',
      model: expect.any(String),
      finishReason: 'stop',
    });
    const answer = (await entries<string, CachedAnswer>(ownStore())).find(([key]) =>
      key.startsWith('b:'),
    );
    expect(Date.now() - answer![1].createdAt).toBeLessThan(30_000);
  });

  it('keeps another user’s answers apart, another server’s, and those to another question', async () => {
    await ask(open(), 'Mine?');
    await kept('Mine?');
    const other = open({ cache: { namespace: `${ownNamespace()}-other` } });
    expect((await ask(other, 'Mine?')).source).toBe('model');
    const elsewhere = open({ url: `${inject('url')}/elsewhere` });
    const onlyIfCached = { cache: 'only-if-cached' } as const;
    await expect(ask(elsewhere, 'Mine?', onlyIfCached)).rejects.toThrow();
    expect((await ask(open(), 'Mine? ')).source).toBe('model');
    expect((await ask(open(), 'Mine?', { temperature: 1 })).source).toBe('model');
  });

  it('has the words of fetch', async () => {
    const client = open();
    const { text: first } = await ask(client, 'Again?');
    await kept('Again?');
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
    await kept('This is kept');
  });

  it('keeps no more answers than it may, and lets the least recently used go', async () => {
    const client = open({ cache: { maxEntries: 2 } });
    await ask(client, 'a');
    await kept('a');
    await ask(client, 'b');
    await kept('a', 'b');
    // Uses `a`, so that `b` is the older one.
    await ask(client, 'a');
    await ask(client, 'c');
    await kept('a', 'c');
  });

  it('keeps no more bytes than it may, and none of an answer that has more', async () => {
    const client = open({ cache: { maxBytes: 1_000 } });
    const long = (word: string): string => word.repeat(300);
    await ask(client, long('a'));
    await kept(long('a'));
    await ask(client, long('b'));
    await kept(long('a'), long('b'));
    await ask(client, 'x'.repeat(2_000));
    await ask(client, long('c'));
    await kept(long('b'), long('c'));
  });

  it('holds two thousand answers, and finds each', async () => {
    const client = open({ cache: { maxEntries: 2_000 } });
    await ask(client, 'Newest?');
    await kept('Newest?');
    const [, newest] = (await entries<string, CachedAnswer>(ownStore())).find(([key]) =>
      key.startsWith('b:'),
    )!;
    const createdAt = Date.now() - 1_000;
    const meta = { size: 1_000, createdAt, usedAt: createdAt };
    const many = Array.from({ length: 2_000 }, (_, i): [string, unknown][] => [
      [`m:${i}`, { ...meta, usedAt: createdAt - i }],
      [`b:${i}`, { ...newest, createdAt }],
    ]);
    await setMany(many.flat(), ownStore());
    expect((await ask(client, 'Newest?')).source).toBe('browser-cache');
    await ask(client, 'Newer still?');
    // The two that were used least recently have left.
    await vi.waitFor(async () => {
      const left = (await keys<string>(ownStore())).filter((key) => key.startsWith('b:'));
      expect(left).toHaveLength(2_000);
      expect(left).not.toContain('b:1999');
      expect(left).not.toContain('b:1998');
    });
    expect((await ask(client, 'Newest?')).source).toBe('browser-cache');
  });

  it('gives nothing that is older than it may be, and lets it go with the next sweep', async () => {
    await ask(open(), 'Old?');
    await kept('Old?');
    const now = Date.now();
    const clock = vi.spyOn(Date, 'now').mockReturnValue(now + 86_400_000 + 1);
    onTestFinished(() => clock.mockRestore());
    await ask(open(), 'New?');
    await kept('New?');
    clock.mockReturnValue(now + 2 * 86_400_000 + 2);
    expect((await ask(open(), 'New?')).source).toBe('model');
  });

  it('drops what it cannot read, and asks', async () => {
    await ask(open(), 'Corrupt?');
    await kept('Corrupt?');
    const own = ownStore();
    for (const key of await keys(own)) await set(key, { text: 7 }, own);
    const [again, onlyIfCached] = [open(), { cache: 'only-if-cached' } as const];
    await expect(ask(again, 'Corrupt?', onlyIfCached)).rejects.toThrow();
    expect(await keys(own)).toEqual([]);
    await set('m:nobody', 'nothing', own);
    expect((await ask(again, 'Corrupt?')).source).toBe('model');
    await vi.waitFor(async () => expect(await keys(own)).not.toContain('m:nobody'));
  });

  it('writes nothing again that another tab has written', async () => {
    const query = 'word '.repeat(2_000);
    const both = [open(), open()].map((client) => client.start({ query }));
    const put = vi.spyOn(IDBObjectStore.prototype, 'put');
    onTestFinished(() => put.mockRestore());
    const [first, second] = await Promise.all(both.map(({ result }) => result));
    expect(second!.text).toBe(first!.text);
    await kept(query);
    await idle();
    const bodies = put.mock.calls.filter(([, key]) => hasPrefix(key, 'b:'));
    expect(bodies).toHaveLength(1);
  });
});

describe('clear', () => {
  it('leaves nothing', async () => {
    const client = open();
    await ask(client, 'Clear?');
    await kept('Clear?');
    await client.cache.clear();
    await kept();
    expect((await ask(client, 'Clear?')).source).toBe('model');
  });

  it('has nothing kept that was asked before, in another client either', async () => {
    const [mine, other] = [open(), open()];
    const query = 'one two three four five six seven eight';
    const asked = [mine.start({ query }), other.start({ query, options: { cache: 'reload' } })];
    await mine.cache.clear();
    await Promise.all(asked.map(({ result }) => result));
    await ask(mine, 'After?');
    await kept('After?');
  });

  it('has nothing kept that was asked before, though no tab can tell another', async () => {
    vi.stubGlobal('BroadcastChannel', undefined);
    onTestFinished(() => void vi.unstubAllGlobals());
    const [mine, other] = [open(), open()];
    const asked = other.start({ query: 'one two three four five six seven eight' });
    await new Promise<void>((resolve) => {
      asked.text$.subscribe((text) => text !== '' && resolve());
    });
    await mine.cache.clear();
    await asked.result;
    await ask(other, 'After?');
    await kept('After?');
  });

  it('works for a client that is closed already, as at logout', async () => {
    const client = open();
    await ask(client, 'Clear?');
    await kept('Clear?');
    client.close();
    await client.cache.clear();
    await kept();
  });
});

describe('a browser', () => {
  it('names itself by the same secret in all its clients', async () => {
    // It sends on: the test runner's own socket is one of those it sees.
    const send = vi.spyOn(WebSocket.prototype, 'send');
    onTestFinished(() => send.mockRestore());
    open().active$.subscribe();
    open().active$.subscribe();
    const named = (): (string | undefined)[] =>
      send.mock.calls.flatMap(([packet]) => {
        const own = typeof packet === 'string' && /^40\{.*"browser_id":"(\w+)"/.exec(packet);
        return own ? own[1] : [];
      });
    await vi.waitFor(() => expect(named()).toHaveLength(2));
    const own = localStorage.getItem('rivulet:browser-id');
    expect(own).toMatch(/^[0-9a-f]{32}$/);
    expect(named()).toEqual([own, own]);
  });
});
