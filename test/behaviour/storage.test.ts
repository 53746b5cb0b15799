import type { Client } from '@rivulet/client';
import { setTimeout as wait } from 'node:timers/promises';
import { filter, firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { freePort } from '../harness/free-port.js';
import { startServer } from '../harness/rivulet.js';
import { connectionWhen, sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';
import { createStorage, type TestStorage } from '../harness/storage.js';
import { answer as say } from '../harness/tools.js';

const DAY_MS = 86_400_000;
const ONLY_IF_CACHED = { cache: 'only-if-cached' } as const;

const open = (url: string, storage: TestStorage, namespace = 'me'): Client =>
  sdk(url, { auth: () => 'ada', cache: { namespace, storage } });

async function staged() {
  const { provider, calls, nextCall } = stage();
  const authenticate = () => ({ principal: 'ada' });
  // Some tests start another server in its place.
  const server = await startServer(provider, { authenticate, port: await freePort() });
  const storage = createStorage();
  return { server, storage, client: open(server.url, storage), calls, nextCall };
}

/** An answer that is kept. */
async function kept() {
  const all = await staged();
  const answer = all.client.start({ query: 'q' });
  say(await all.nextCall(), 'It ends.');
  await answer.result;
  await vi.waitFor(() => expect(all.storage.valuesOf('b:')).toHaveLength(1));
  // The journal's entry leaves after the answer is kept.
  await vi.waitFor(() => expect(all.storage.valuesOf('j:')).toEqual([]));
  return all;
}

/** An answer whose journal has the text `Where `. */
async function underWay() {
  const all = await staged();
  const context = [{ role: 'user', content: 'Earlier' }] as const;
  const request = { query: 'q', sessionId: 's', context, options: { temperature: 1 } };
  const answer = all.client.start(request);
  const call = await all.nextCall();
  call.say('Where ');
  await journalled(all.storage, { received: { text: 'Where ' } });
  return { ...all, request, answer, call };
}

const journalled = (storage: TestStorage, entry: object): Promise<void> =>
  vi.waitFor(() => expect(storage.valuesOf('j:')).toMatchObject([entry]));

const source = async (client: Client): Promise<string | undefined> =>
  (await client.start({ query: 'q', options: ONLY_IF_CACHED }).result).source;

/** Moves the clock, and the timers that it has. */
function ownClock(ms: number): void {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'], now: now + ms });
  onTestFinished(() => void vi.useRealTimers());
}

it('a question to a closed client leaves nothing for the next page', async () => {
  const { client, storage, calls } = await staged();
  client.close();
  const answer = client.start({ query: 'q' });
  expect(await answer.result).toMatchObject({ status: 'cancelled' });
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(storage.valuesOf('j:')).toEqual([]);
  expect(calls).toEqual([]);
});

describe('a storage of one’s own', () => {
  it('keeps answers for the next client of the same server and namespace', async () => {
    const { server, storage } = await kept();
    expect(await source(open(server.url, storage))).toBe('browser-cache');
    expect(await source(open(`${server.url}/`, storage))).toBe('browser-cache');
    await expect(source(open(server.url, storage, 'other'))).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(source(open('http://127.0.0.1:1', storage))).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('is cleared of one server and namespace, and of nothing else', async () => {
    const { server, storage, client } = await kept();
    storage.items.set('mine', '1');
    await open('http://127.0.0.1:1', storage).cache.clear();
    await open(server.url, storage, 'm').cache.clear();
    expect(await source(client)).toBe('browser-cache');
    await client.cache.clear();
    await expect(source(client)).rejects.toMatchObject({ code: 'not_found' });
    expect(storage.valuesOf('b:')).toEqual([]);
    expect(storage.items.get('mine')).toBe('1');
  });

  it('keeps nothing that was asked before a `clear`, and what was asked after', async () => {
    const { storage, client, nextCall } = await staged();
    const before = client.start({ query: 'before' });
    const call = await nextCall();
    await client.cache.clear();
    say(call, 'Before.');
    await before.result;
    const after = client.start({ query: 'after' });
    say(await nextCall(), 'After.');
    await after.result;
    await vi.waitFor(() => expect(storage.valuesOf('b:')).toMatchObject([{ text: 'After.' }]));
  });

  it('is clear after a `clear` that comes while an answer is being written', async () => {
    const { storage, client, nextCall } = await staged();
    const { setItem } = storage;
    const clearing = new Promise<void>((resolve) => {
      vi.spyOn(storage, 'setItem').mockImplementation((key, value) => {
        if (key.includes(']m:')) resolve(client.cache.clear());
        return setItem(key, value);
      });
    });
    client.start({ query: 'q' });
    say(await nextCall(), 'It ends.');
    await clearing;
    // Each of these is a turn that the storage could still use.
    for (let i = 0; i < 10; i++) await storage.getItem('any');
    expect(storage.valuesOf('b:')).toEqual([]);
  });

  it('has `clear` reject if it fails, or does not answer within 5 s', async () => {
    const { storage, client } = await kept();
    const removeItem = vi.spyOn(storage, 'removeItem');
    removeItem.mockRejectedValueOnce(new Error('no'));
    await expect(client.cache.clear()).rejects.toThrow('no');
    removeItem.mockReturnValue(new Promise(() => {}));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const clearing = client.cache.clear().then(
      () => 'resolved',
      () => 'rejected',
    );
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await Promise.race([clearing, Promise.resolve('neither')])).toBe('rejected');
    vi.useRealTimers();
    await expect(source(client)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('what has expired', () => {
  it('leaves when a client first uses the store, whatever it uses it for', async () => {
    const { server, storage, client } = await kept();
    client.close();
    storage.items.set(journalKey(server.url, 'old'), JSON.stringify(entryOf('old')));
    ownClock(DAY_MS + 1);
    open(server.url, storage).resume('another');
    await vi.waitFor(() => expect([...storage.items.keys()]).toEqual([]));
  });

  it('leaves within a day of a client that stays open', async () => {
    const intervals = vi.spyOn(globalThis, 'setInterval');
    onTestFinished(() => intervals.mockRestore());
    const { storage } = await kept();
    const hourly = intervals.mock.calls.find(([, ms]) => ms! >= 60_000 * 60 && ms! < DAY_MS);
    ownClock(DAY_MS + 1);
    hourly![0]();
    await vi.waitFor(() => expect([...storage.items.keys()]).toEqual([]));
  });

  it('is also what has a stamp more than a minute ahead', async () => {
    const { server, storage } = await kept();
    storage.items.set(journalKey(server.url, 'ahead'), JSON.stringify(entryOf('ahead')));
    ownClock(-30_000);
    expect(await source(open(server.url, storage.copy()))).toBe('browser-cache');
    ownClock(-120_000);
    const client = open(server.url, storage);
    await expect(source(client)).rejects.toMatchObject({ code: 'not_found' });
    await vi.waitFor(() => expect([...storage.items.keys()]).toEqual([]));
  });
});

const journalKey = (url: string, id: string): string =>
  `rivulet:${JSON.stringify([url, 'me'])}j:${id}:w`;

const NOTHING = { text: '', thoughts: '', toolEntries: [] };

function entryOf(id: string) {
  const now = Date.now();
  return {
    id,
    request: { query: 'What?' },
    cacheTarget: { key: 'k', askedAt: now, replaces: false },
    phase: 'reading',
    received: { offset: 5, ...NOTHING, text: 'Once' },
    writtenAt: now,
    isFromUnload: false,
  };
}

/** Keeps a question that no server has accepted, as an earlier page leaves it. */
function keepUnasked(url: string, { items }: TestStorage): void {
  const entry = { ...entryOf('unasked'), phase: 'asking', received: { offset: 0, ...NOTHING } };
  items.set(journalKey(url, 'unasked'), JSON.stringify(entry));
}

describe('the journal', () => {
  it.each([
    ['at once', false],
    ['as listed', true],
  ])(
    'keeps an answer in `active$` while a page that resumes it %s reads its entry',
    async (_when, isListed) => {
      const { server, storage, answer } = await underWay();
      const next = open(server.url, storage.copy());
      const seen: (string | undefined)[][] = [];
      next.active$.subscribe((active) => seen.push(active.map(({ query }) => query)));
      if (isListed) await vi.waitFor(() => expect(seen).not.toEqual([]));
      const resumed = next.resume(answer.id);
      await connectionWhen(next, ({ status }) => status === 'connected');
      await snapshotWhen(resumed, ({ status }) => status === 'streaming');
      expect(new Set(seen.map(String))).toEqual(new Set(['q']));
    },
  );

  it('has the whole request, for a retry after a reload', async () => {
    const { server, storage, answer, request, call } = await underWay();
    const next = open(server.url, storage.copy());
    const resumed = next.resume(answer.id);
    await snapshotWhen(resumed, ({ text }) => text === 'Where ');
    expect(resumed.request).toEqual(request);
    expect(resumed.getSnapshot().query).toBe('q');
    say(call, 'it ends.');
    expect((await resumed.result).text).toBe('Where it ends.');
  });

  it('is what `active$` has first, also where the server replies before the disk', async () => {
    const { server, storage, client, answer, call } = await underWay();
    const left = storage.copy();
    client.close();
    say(call, 'it ends.');
    const slow = { ...left, getAllKeys: async () => (await wait(300), left.getAllKeys()) };
    const next = open(server.url, slow);
    const lists: (readonly string[])[] = [];
    next.active$.subscribe((active) => lists.push(active.map(({ id }) => id)));
    await vi.waitFor(() => expect(lists.at(-1)).toEqual([]));
    expect(lists).toEqual([[answer.id], []]);
  });

  it('is not waited for by `active$` of a client that is closed', async () => {
    const { server, storage } = await underWay();
    const slow = { ...storage, getAllKeys: () => new Promise<string[]>(() => {}) };
    const next = open(server.url, slow);
    const seen: unknown[] = [];
    next.active$.subscribe({
      next: (active) => seen.push(active),
      complete: () => seen.push('complete'),
    });
    await connectionWhen(next, ({ status }) => status === 'connected');
    next.close();
    expect(seen).toEqual([[], 'complete']);
  });

  it('shows the text so far, as interrupted, when the server was restarted, too', async () => {
    const { server, storage, answer, client, request } = await underWay();
    const left = storage.copy();
    const port = Number(new URL(server.url).port);
    client.close();
    await server.close();
    await startServer(stage().provider, { port, authenticate: () => ({ principal: 'ada' }) });
    const resumed = open(server.url, left).resume(answer.id);
    await expect(resumed.result).rejects.toMatchObject({ code: 'interrupted' });
    expect(resumed.getSnapshot()).toMatchObject({ status: 'failed', text: 'Where ' });
    expect(resumed.request).toEqual(request);
    await vi.waitFor(() => expect(left.valuesOf('j:')).toEqual([]));
  });

  it('asks again when the server lost the answer before its first text', async () => {
    const { server, storage, client, nextCall } = await staged();
    const answer = client.start({ query: 'q' });
    await nextCall();
    await journalled(storage, { phase: 'reading', received: { text: '' } });
    const left = storage.copy();
    const port = Number(new URL(server.url).port);
    client.close();
    await server.close();
    const again = stage();
    await startServer(again.provider, { port, authenticate: () => ({ principal: 'ada' }) });
    const resumed = open(server.url, left).resume(answer.id);
    say(await again.nextCall(), 'It ends.');
    expect((await resumed.result).text).toBe('It ends.');
  });

  it('keeps the entry of one client though another releases, closes or finds no answer', async () => {
    const { server, storage, answer, call } = await underWay();
    const other = open(server.url, storage);
    const entries = () => storage.valuesOf('j:').length;
    const resumed = other.resume(answer.id);
    await snapshotWhen(resumed, ({ status }) => status === 'streaming');
    await vi.waitFor(() => expect(entries()).toBe(2));
    resumed.release();
    await vi.waitFor(() => expect(entries()).toBe(1));
    other.resume(answer.id);
    await vi.waitFor(() => expect(entries()).toBe(2));
    other.close();
    await vi.waitFor(() => expect(entries()).toBe(1));
    await journalled(storage, { id: answer.id, received: { text: 'Where ' } });
    say(call, 'it ends.');
    await answer.result;
    await vi.waitFor(() => expect(entries()).toBe(0));
  });

  it('has no entry of a crashed client left once the answer that was resumed is over', async () => {
    const { server, storage, answer, call } = await underWay();
    const left = storage.copy();
    const resumed = open(server.url, left).resume(answer.id);
    await vi.waitFor(() => expect(left.valuesOf('j:')).toHaveLength(2));
    say(call, 'it ends.');
    await resumed.result;
    await vi.waitFor(() => expect(left.valuesOf('j:')).toEqual([]));
  });

  it('is renewed while nothing changes, so that a long queue does not age', async () => {
    const intervals = vi.spyOn(globalThis, 'setInterval');
    onTestFinished(() => intervals.mockRestore());
    const { storage, client, nextCall } = await staged();
    client.start({ query: 'q' });
    await nextCall();
    await journalled(storage, { phase: 'reading' });
    const renewals = intervals.mock.calls.filter(([, ms]) => ms === 60_000);
    ownClock(5 * 60_000);
    for (const [renew] of renewals) renew();
    await vi.waitFor(() => {
      const [entry] = storage.valuesOf('j:') as { writtenAt: number }[];
      expect(Date.now() - entry!.writtenAt).toBeLessThan(60_000);
    });
  });

  const broken: Record<string, object> = {
    'no request': { request: undefined },
    'a query that is no text': { request: { query: 7 } },
    'a context that is no list': { request: { query: 'q', context: {} } },
    'a message that is null': { request: { query: 'q', context: [null] } },
    'options that are a text': { request: { query: 'q', options: 'none' } },
    'thoughts that are no text': { received: { ...NOTHING, offset: 1, thoughts: 1 } },
    'an offset that is no integer': { received: { ...NOTHING, offset: 'x', text: '' } },
    'a text that is none': { received: { ...NOTHING, offset: 1, text: {} } },
    'tools that are no list': { received: { ...NOTHING, offset: 1, toolEntries: 1 } },
    'a tool that is null': { received: { ...NOTHING, offset: 1, toolEntries: [null] } },
    'an attempt that is a number': {
      received: { ...NOTHING, offset: 1, attempt: 1 },
    },
    'another phase': { phase: 'dreaming' },
    'a text of a question that was not asked': { phase: 'asking' },
    'no stamp': { writtenAt: undefined },
    'more than it may hold': {
      received: { ...NOTHING, offset: 1, text: 'x'.repeat(2 ** 24) },
    },
  };
  it.each(Object.keys(broken))('drops an entry with %s', async (name) => {
    const { server, storage, client } = await staged();
    const entry = { ...entryOf('broken'), ...broken[name] };
    storage.items.set(journalKey(server.url, 'broken'), JSON.stringify(entry));
    storage.items.set(journalKey(server.url, 'whole'), JSON.stringify(entryOf('whole')));
    const [first] = await firstValueFrom(client.active$.pipe(filter(({ length }) => length > 0)));
    expect(first).toMatchObject({ id: 'whole', query: 'What?' });
    await vi.waitFor(() => expect(storage.valuesOf('j:broken')).toEqual([]));
    expect(storage.valuesOf('j:whole')).toHaveLength(1);
  });
});

describe('a question that waits because of a rate limit', () => {
  it('is there after a reload, with the time for a countdown, and is asked then', async () => {
    const { provider, nextCall, calls } = stage();
    const { url } = await startServer(provider, {
      authenticate: () => ({ principal: 'ada' }),
      env: { RATE_LIMIT_REQUESTS: '1', RATE_LIMIT_WINDOW_SECONDS: '5' },
    });
    const storage = createStorage();
    const client = open(url, storage);
    client.start({ query: 'the one that she may', options: { cache: 'no-store' } });
    await nextCall();
    const context = [{ role: 'user', content: 'Earlier' }] as const;
    const options = { onRateLimit: 'wait' } as const;
    const waiting = client.start({ query: 'later', context, options });
    const { retryAt } = await snapshotWhen(waiting, (now) => now.retryAt !== undefined);
    await journalled(storage, { phase: 'asking', retryAt });
    const left = storage.copy();
    client.close();

    const next = open(url, left);
    const [listed] = await firstValueFrom(next.active$.pipe(filter(({ length }) => length > 0)));
    expect(listed).toMatchObject({ id: waiting.id, query: 'later', status: 'waiting' });
    const resumed = next.resume(waiting.id);
    const early = await snapshotWhen(resumed, (now) => now.retryAt !== undefined);
    expect(early).toMatchObject({ status: 'waiting', query: 'later' });
    const call = await nextCall();
    expect(JSON.stringify(call.prompt)).toContain('Earlier');
    say(call, 'It ends.');
    expect((await resumed.result).text).toBe('It ends.');
    expect(calls).toHaveLength(2);
    await vi.waitFor(() => expect(left.valuesOf('j:')).toEqual([]));
  });

  it('stays one while there is no server, for the page after the next', async () => {
    const { server, storage, client } = await staged();
    client.close();
    await server.close();
    keepUnasked(server.url, storage);
    open(server.url, storage).resume('unasked');
    await vi.waitFor(() => {
      expect(storage.valuesOf('j:')).toMatchObject([{ phase: 'asking' }, { phase: 'asking' }]);
    });
  });

  it('is still in `active$` once the server has said what it has', async () => {
    const { server, storage, client } = await staged();
    keepUnasked(server.url, storage);
    storage.items.set(journalKey(server.url, 'read'), JSON.stringify(entryOf('read')));
    const gone = filter<readonly { id: string }[]>((all) => all.every(({ id }) => id !== 'read'));
    const after = await firstValueFrom(client.active$.pipe(gone));
    expect(after).toMatchObject([{ id: 'unasked', status: 'waiting' }]);
  });

  it('is gone from `active$` once it is released before a server has it', async () => {
    const { server, storage, client } = await staged();
    client.close();
    await server.close();
    keepUnasked(server.url, storage);
    const next = open(server.url, storage);
    const listed = (length: number): Promise<unknown> =>
      firstValueFrom(next.active$.pipe(filter((active) => active.length === length)));
    await listed(1);
    const answer = next.resume('unasked');
    await vi.waitFor(() => expect(storage.valuesOf('j:')).toHaveLength(2));
    answer.release();
    await listed(0);
  });

  it.each(['at once', 'when its question is known', 'by a second handle'])(
    'that a page asked just before its reload can be cancelled: %s',
    async (when) => {
      const { server, storage, client, nextCall } = await staged();
      const { id } = client.start({ query: 'q' });
      const call = await nextCall();
      await journalled(storage, { phase: 'reading' });
      const [entry] = storage.valuesOf('j:') as object[];
      const left = createStorage();
      const asking = JSON.stringify({ ...entry, phase: 'asking' });
      left.items.set(journalKey(server.url, id), asking);
      const next = open(server.url, left);
      let answer = next.resume(id);
      if (when !== 'at once') await snapshotWhen(answer, ({ query }) => query === 'q');
      if (when === 'by a second handle') {
        answer.release();
        answer = next.resume(id);
      }
      answer.cancel();
      await call.aborted;
      await vi.waitFor(() => expect(left.valuesOf('j:')).toEqual([]));
    },
  );
});
