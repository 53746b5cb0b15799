import { get, set } from 'idb-keyval';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ask, idle, kept, open, ownStore } from './own-user.js';

/** Has every opening of a database end as `end` says. */
function openingEnds(end: () => IDBOpenDBRequest): void {
  const spy = vi.spyOn(indexedDB, 'open').mockImplementation(end);
  onTestFinished(() => spy.mockRestore());
}

function denied(): never {
  throw new DOMException('denied', 'SecurityError');
}

/** Ends the transactions that write a key as a full disk does, if `isFull` says so. */
function diskIsFull(isFull: (key: string) => boolean): void {
  const { put } = IDBObjectStore.prototype;
  const spy = vi.spyOn(IDBObjectStore.prototype, 'put');
  spy.mockImplementation(function (this: IDBObjectStore, value: unknown, key?: IDBValidKey) {
    const request = put.call(this, value, key);
    if (!isFull(typeof key === 'string' ? key : '')) return request;
    const error = new DOMException('full', 'QuotaExceededError');
    Object.defineProperty(this.transaction, 'error', { value: error });
    // A disk is found to be full only when the transaction is committed.
    this.transaction.commit = () => this.transaction.abort();
    return request;
  });
  onTestFinished(() => spy.mockRestore());
}

const ONLY_IF_CACHED = { cache: 'only-if-cached' } as const;

describe('where IndexedDB does not open', () => {
  it('an answer is kept as long as the page, by the same bounds', async () => {
    openingEnds(denied);
    // All of it may happen within a millisecond.
    let now = Date.now();
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => (now += 1));
    onTestFinished(() => clock.mockRestore());
    const client = open({ cache: { maxEntries: 2 } });
    for (const query of ['a', 'b', 'a', 'c']) {
      await ask(client, query);
      await vi.waitFor(() => ask(client, query, ONLY_IF_CACHED));
    }
    await idle();
    await expect(ask(client, 'b', ONLY_IF_CACHED)).rejects.toThrow();
    expect((await ask(client, 'a', ONLY_IF_CACHED)).source).toBe('browser-cache');
    expect((await ask(client, 'c', ONLY_IF_CACHED)).source).toBe('browser-cache');
  });

  it('`clear` works, in every tab', async () => {
    openingEnds(denied);
    const [mine, other] = [open(), open()];
    await ask(other, 'a');
    await ask(mine, 'a');
    await mine.cache.clear();
    await expect(ask(mine, 'a', ONLY_IF_CACHED)).rejects.toThrow();
    await vi.waitFor(async () => {
      await expect(ask(other, 'a', ONLY_IF_CACHED)).rejects.toThrow();
    });
  });

  it('a question is asked though the opening never ends', async () => {
    openingEnds(() => ({}) as IDBOpenDBRequest);
    expect((await ask(open(), 'Hangs?')).source).toBe('model');
  });
});

describe('a connection to IndexedDB that was closed behind the page’s back', () => {
  it('is opened again, for reading and for writing', async () => {
    const databases: IDBDatabase[] = [];
    const { transaction } = IDBDatabase.prototype;
    const spy = vi.spyOn(IDBDatabase.prototype, 'transaction');
    spy.mockImplementation(function (this: IDBDatabase, ...args) {
      databases.push(this);
      return transaction.apply(this, args);
    });
    onTestFinished(() => spy.mockRestore());
    const client = open();
    await ask(client, 'Closed?');
    await kept('Closed?');
    for (const database of databases) database.close();
    expect((await ask(client, 'Closed?')).source).toBe('browser-cache');
    for (const database of databases) database.close();
    await ask(client, 'Again?', { cache: 'reload' });
    await kept('Again?', 'Closed?');
  });
});

describe('a disk that is full', () => {
  it('costs the quarter of the answers that was used least recently, and the new one is kept', async () => {
    const client = open();
    const queries = ['a', 'b', 'c', 'd', 'e'];
    for (const query of queries) {
      await ask(client, query);
      await kept(...queries.slice(0, queries.indexOf(query) + 1));
    }
    await ask(client, 'a');
    let refused = 0;
    diskIsFull((key) => key.startsWith('b:') && refused++ === 0);
    await ask(client, 'f');
    await kept('a', 'd', 'e', 'f');
    expect(refused).toBe(2);
  });

  it('has an answer kept as long as the page where there is no room all the same', async () => {
    diskIsFull((key) => key.startsWith('b:'));
    const client = open();
    await ask(client, 'a');
    await vi.waitFor(async () => {
      expect((await ask(client, 'a', ONLY_IF_CACHED)).source).toBe('browser-cache');
    });
    await kept();
    await client.cache.clear();
    await expect(ask(client, 'a', ONLY_IF_CACHED)).rejects.toThrow();
  });

  it('does not keep `clear` from clearing', async () => {
    const client = open();
    await ask(client, 'a');
    await kept('a');
    diskIsFull(() => true);
    await client.cache.clear();
    await kept();
  });
});

it('`clear` rejects if what was kept is still there', async () => {
  const client = open();
  await ask(client, 'a');
  await kept('a');
  const clear = vi.spyOn(IDBObjectStore.prototype, 'clear').mockImplementation(denied);
  onTestFinished(() => clear.mockRestore());
  await expect(client.cache.clear()).rejects.toThrow();
  await set('mine', 1, ownStore());
  expect(await get('mine', ownStore())).toBe(1);
});

describe('`clear` settles within 5 s, and rejects,', () => {
  const opened = async () => {
    const client = open();
    await ask(client, 'a');
    await kept('a');
    return client;
  };
  /** Has every database of the page closed, so that it must be opened again. */
  const closed = (): void => {
    const { transaction } = IDBDatabase.prototype;
    const spy = vi.spyOn(IDBDatabase.prototype, 'transaction');
    spy.mockImplementation(function (this: IDBDatabase, ...args) {
      this.close();
      return transaction.apply(this, args);
    });
    onTestFinished(() => spy.mockRestore());
  };
  const unknown = (): IDBOpenDBRequest => {
    const request = new EventTarget() as IDBOpenDBRequest;
    const error = new DOMException('Internal error opening backing store', 'UnknownError');
    Object.defineProperty(request, 'error', { value: error });
    queueMicrotask(() => request.onerror?.(new Event('error')));
    return request;
  };

  it('if the database is there and does not open', async () => {
    const client = await opened();
    openingEnds(unknown);
    closed();
    await expect(client.cache.clear()).rejects.toMatchObject({ name: 'UnknownError' });
    await expect(ask(client, 'a', ONLY_IF_CACHED)).rejects.toThrow();
  });

  it('if the database does not answer', async () => {
    const client = await opened();
    openingEnds(() => ({}) as IDBOpenDBRequest);
    closed();
    const startedAt = performance.now();
    await expect(client.cache.clear()).rejects.toThrow('timed out');
    expect(performance.now() - startedAt).toBeLessThan(8_000);
  });
});

it('a connection that is lost, as Safari loses it, is opened again', async () => {
  const client = open();
  await ask(client, 'Lost?');
  await kept('Lost?');
  const known = new Set<IDBDatabase>();
  const { transaction } = IDBDatabase.prototype;
  const spy = vi.spyOn(IDBDatabase.prototype, 'transaction');
  spy.mockImplementation(function (this: IDBDatabase, ...args) {
    known.add(this);
    const begun = transaction.apply(this, args);
    // The first connection is the one that the page had.
    if (known.size === 1) queueMicrotask(() => queueMicrotask(() => begun.abort()));
    return begun;
  });
  onTestFinished(() => spy.mockRestore());
  expect((await ask(client, 'Lost?')).source).toBe('browser-cache');
  await ask(client, 'Again?');
  await kept('Again?', 'Lost?');
});

it('`clear` forgets where cookies are blocked, as in Firefox', async () => {
  vi.stubGlobal('BroadcastChannel', denied);
  const idb = vi.spyOn(globalThis, 'indexedDB', 'get').mockImplementation(denied);
  onTestFinished(() => {
    idb.mockRestore();
    vi.unstubAllGlobals();
  });
  const client = open();
  await ask(client, 'a');
  await vi.waitFor(async () => {
    expect((await ask(client, 'a', ONLY_IF_CACHED)).source).toBe('browser-cache');
  });
  await client.cache.clear();
  await expect(ask(client, 'a', ONLY_IF_CACHED)).rejects.toThrow();
});

it('every transaction that writes is committed, since the page may be kept by its browser', async () => {
  const { transaction } = IDBDatabase.prototype;
  const writing = new Set<IDBTransaction>();
  const begin = vi.spyOn(IDBDatabase.prototype, 'transaction');
  begin.mockImplementation(function (this: IDBDatabase, ...args) {
    const begun = transaction.apply(this, args);
    if (begun.mode === 'readwrite') writing.add(begun);
    return begun;
  });
  const { commit } = IDBTransaction.prototype;
  const committed = new Set<IDBTransaction>();
  const end = vi.spyOn(IDBTransaction.prototype, 'commit');
  end.mockImplementation(function (this: IDBTransaction) {
    committed.add(this);
    commit.call(this);
  });
  onTestFinished(() => {
    begin.mockRestore();
    end.mockRestore();
  });
  const client = open();
  await ask(client, 'a');
  await kept('a');
  await ask(client, 'a');
  const answer = client.start({ query: 'word '.repeat(1_000) });
  dispatchEvent(new Event('pagehide'));
  answer.cancel();
  await client.cache.clear();
  await idle();
  expect(writing.size).toBeGreaterThan(3);
  await vi.waitFor(() => expect([...writing].filter((begun) => !committed.has(begun))).toEqual([]));
});
