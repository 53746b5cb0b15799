import { createServer } from 'node:http';
import { EVENT } from '@rivulet/protocol';
import {
  attachRivulet,
  createLogger,
  type EndedStream,
  mockProvider,
  type ResponseCache,
  type ServerOptions,
} from '@rivulet/server';
import { Server } from 'socket.io';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { deferred } from '../harness/deferred.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { serviceOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { connectAs, start, USERS } from '../harness/users.js';

/** A server whose answers are numbered. */
async function numbered(options: ServerOptions = {}) {
  let answers = 0;
  const provider = mockProvider(() => [{ text: `Answer ${++answers}.` }, { finish: 'stop' }]);
  const server = await startServer(provider, { ...USERS, ...options });
  let asked = 0;
  const ask = async (user: string): Promise<string> => {
    const socket = connectAs(server.url, user);
    const collected = collect(socket);
    await start(socket, `${++asked}`);
    return (await collected).text;
  };
  return { server, ask };
}

describe('forgetting a user', () => {
  it('ends what runs for its readers, stops the model, and leaves other users alone', async () => {
    const { provider, nextCall } = stage();
    const { url, forget } = await startServer(provider, USERS);
    const [ann, again, bob] = [
      connectAs(url, 'ann'),
      connectAs(url, 'ann'),
      connectAs(url, 'bob'),
    ] as const;
    const ends = [collect(ann), collect(again)];
    const ended = collect(bob);
    await start(ann, 'A');
    const call = await nextCall();
    await again.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0 });
    await start(bob, 'A');
    const other = await nextCall();
    call.say('Where a river ');
    await Promise.all([next(ann, EVENT.chunk), next(again, EVENT.chunk)]);
    await forget('ann');
    for (const { text, terminal } of await Promise.all(ends)) {
      expect(text).toBe('Where a river ');
      expect(terminal).toMatchObject({ code: 'cancelled', retryable: false });
    }
    await call.aborted;
    for (const [socket, expected] of [
      [ann, []],
      [bob, [{ stream_id: 'A' }]],
    ] as const) {
      const { streams } = await socket.emitWithAck(EVENT.list, {});
      expect(streams).toMatchObject(expected);
      expect(streams).toHaveLength(expected.length);
    }
    other.say('Of Bob.');
    other.finish();
    expect((await ended).text).toBe('Of Bob.');
    // The connection is as good as before.
    expect(await start(ann, 'A', { query: 'another' })).toMatchObject({ ok: true });
  });

  it('removes what has ended, also from under a reader that is behind', async () => {
    const { server } = await numbered();
    const slow = connectAs(server.url, 'ann');
    const begun = next(slow, EVENT.shortChunk);
    await start(slow, 'A', { window: 3 });
    await begun;
    const dropped = next(slow, EVENT.error);
    await server.forget('ann');
    expect(await dropped).toMatchObject({ stream_id: 'A', code: 'cancelled' });
    const reply = await slow.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0 });
    expect(reply).toMatchObject({ ok: false, error: { code: 'not_found' } });
  });

  it('removes the cached answers of this user alone', async () => {
    const { server, ask } = await numbered();
    expect([await ask('ann'), await ask('bob'), await ask('ann')]).toEqual([
      'Answer 1.',
      'Answer 2.',
      'Answer 1.',
    ]);
    await server.forget('ann');
    expect([await ask('ann'), await ask('bob')]).toEqual(['Answer 3.', 'Answer 2.']);
  });

  it('removes from a shared cache what was generated for this user', async () => {
    const { server, ask } = await numbered({ cache: { scope: 'shared' } });
    expect([await ask('ann'), await ask('bob')]).toEqual(['Answer 1.', 'Answer 1.']);
    await server.forget('bob');
    expect(await ask('ann')).toBe('Answer 1.');
    await server.forget('ann');
    expect(await ask('bob')).toBe('Answer 2.');
  });

  it('does not keep an answer that goes on for another user', async () => {
    const { provider, nextCall, calls } = stage();
    const options = { ...USERS, cache: { scope: 'shared' } } as const;
    const { url, forget } = await startServer(provider, options);
    const bob = connectAs(url, 'bob');
    const ended = collect(bob);
    await start(connectAs(url, 'ann'), 'A');
    await start(bob, 'B');
    const call = await nextCall();
    await forget('ann');
    call.say('Hello.');
    call.finish();
    expect((await ended).text).toBe('Hello.');
    await start(bob, 'C');
    await nextCall();
    expect(calls).toHaveLength(2);
  });

  it('removes answers that the application asked the core for itself', async () => {
    const { server } = await numbered();
    const ask = () => server.llm.generateResponse({ query: 'q', principal: 'ann' });
    await ask();
    expect(await ask()).toMatchObject({ text: 'Answer 1.', source: 'cache' });
    await server.forget('ann');
    expect(await ask()).toMatchObject({ text: 'Answer 2.', source: 'model' });
  });

  it('resets the limits of its requests', async () => {
    const { server } = await numbered({ rateLimit: { requests: 2, windowSeconds: 60 } });
    const socket = connectAs(server.url, 'ann');
    const ask = async (id: string) => (await start(socket, id)).ok as boolean;
    expect([await ask('A'), await ask('B'), await ask('C')]).toEqual([true, true, false]);
    await server.forget('bob');
    expect(await ask('D')).toBe(false);
    await server.forget('ann');
    expect([await ask('E'), await ask('F'), await ask('G')]).toEqual([true, true, false]);
  });

  it('aborts its prepare', async () => {
    const prepared = deferred<AbortSignal>();
    const { server } = await numbered({
      prepare({ signal }) {
        prepared.resolve(signal);
        return new Promise(() => {});
      },
    });
    await start(connectAs(server.url, 'ann'), 'A');
    const signal = await prepared.promise;
    await server.forget('ann');
    expect(signal.aborted).toBe(true);
  });

  it('waits for the onEnd of its streams, and not for that of others', async () => {
    const ends: EndedStream[] = [];
    const [called, stored] = [deferred(), deferred()];
    const { provider, nextCall } = stage();
    const { url, forget } = await startServer(provider, {
      ...USERS,
      onEnd(ended) {
        ends.push(ended);
        if (ended.principal === 'bob') return new Promise(() => {});
        called.resolve();
        return stored.promise;
      },
    });
    const bob = connectAs(url, 'bob');
    await start(bob, 'B');
    await nextCall();
    await bob.emitWithAck(EVENT.cancel, { stream_id: 'B' });
    await start(connectAs(url, 'ann'), 'A');
    await nextCall();
    let isForgotten = false;
    const forgotten = forget('ann').then(() => (isForgotten = true));
    await called.promise;
    // The reply comes after whatever the server had ready.
    await connectAs(url, 'eve').emitWithAck(EVENT.list, {});
    expect(isForgotten).toBe(false);
    stored.resolve();
    await forgotten;
    expect(ends).toMatchObject([{ principal: 'bob' }, { principal: 'ann', outcome: 'cancelled' }]);
  });

  it('knows a browser by the name that the hooks have of it', async () => {
    const ends: EndedStream[] = [];
    let answers = 0;
    const provider = mockProvider(() => [{ text: `Answer ${++answers}.` }, { finish: 'stop' }]);
    const { url, forget } = await startServer(provider, {
      onEnd: (ended) => void ends.push(ended),
    });
    const socket = connect(url, { browser_id: 'the-browser-of-the-first-visitor' });
    await start(socket, 'A');
    await vi.waitFor(() => expect(ends).toHaveLength(1));
    const { principal } = ends[0]!;
    expect(principal).toMatch(/^browser:/);
    await forget(principal);
    const reply = await socket.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0 });
    expect(reply).toMatchObject({ ok: false, error: { code: 'not_found' } });
    const collected = collect(socket);
    await start(socket, 'B');
    expect((await collected).text).toBe('Answer 2.');
  });

  it('is nothing for a user who has nothing', async () => {
    const { server } = await numbered();
    for (const name of ['nobody', '', '__proto__']) {
      await expect(server.forget(name)).resolves.toBeUndefined();
    }
  });
});

describe('a cache of the application', () => {
  /** Rivulet on a Socket.IO server of the test, with this cache. */
  async function attached(cache: ResponseCache) {
    const http = createServer();
    const io = new Server(http);
    const llm = serviceOf(
      mockProvider(() => [{ text: 'Hello.' }, { finish: 'stop' }]),
      { cache },
    );
    const rivulet = attachRivulet(io, llm, { ...USERS, logger: createLogger('silent') });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    onTestFinished(async () => {
      rivulet.close();
      await io.close();
    });
    const { port } = http.address() as { port: number };
    const socket = connectAs(`http://127.0.0.1:${port}`, 'ann');
    const collected = collect(socket);
    await start(socket, 'A');
    await collected;
    return { rivulet, socket };
  }

  it('is told whose answer it keeps, and to forget it', async () => {
    const cache = {
      get: () => undefined,
      set: vi.fn<ResponseCache['set']>(),
      forget: vi.fn<(principal: string) => void>(),
    };
    const { rivulet } = await attached(cache);
    const [[, answer, principal]] = cache.set.mock.calls as [[string, object, string]];
    expect(answer).toMatchObject({ text: 'Hello.' });
    await rivulet.forget('ann');
    expect(cache.forget).toHaveBeenCalledWith(principal);
  });

  it('that cannot forget has the promise rejected, once all else is removed', async () => {
    const { rivulet, socket } = await attached({ get: () => undefined, set() {} });
    await expect(rivulet.forget('ann')).rejects.toThrow(/cache/);
    const reply = await socket.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0 });
    expect(reply).toMatchObject({ error: { code: 'not_found' } });
  });
});
