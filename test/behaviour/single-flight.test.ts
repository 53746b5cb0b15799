import { EVENT } from '@rivulet/protocol';
import type { Socket } from 'socket.io-client';
import { describe, expect, it } from 'vitest';
import { createLogView } from '../../packages/server/src/deliver/log-view.js';
import { createLog } from '../../packages/server/src/deliver/log.js';
import { type Collected, collect, connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';

const ME = { browser_id: 'the-browser-of-the-first-visitor' };
const START = { type: 'start', attempt: 1, source: 'model', provider: 'p', model: 'm' } as const;
const CANCELLED = { type: 'error', code: 'cancelled', message: 'unable to' } as const;

const ask = (socket: Socket, id: string, options = {}) =>
  socket.emitWithAck(EVENT.start, { query: 'q', stream_id: id, ...options });

describe('who asks the same at the same time', () => {
  it('shares one generation: of a hundred, one cancels and 99 finish', async () => {
    const { provider, calls, nextCall } = stage();
    const { url } = await startServer(provider, {
      limits: { maxStreamsPerPrincipal: 100, maxConnectionsPerPrincipal: 100 },
      env: { RATE_LIMIT_REQUESTS: '100' },
    });
    const sockets = Array.from({ length: 100 }, () => connect(url, ME));
    const ends: Promise<Collected>[] = sockets.map(collect);
    await Promise.all(sockets.map((socket, i) => ask(socket, `${i}`)));
    const call = await nextCall();
    call.say('Where a river ');
    await Promise.all(sockets.map((socket) => next(socket, EVENT.chunk)));
    await sockets[7]!.emitWithAck(EVENT.cancel, { stream_id: '7' });
    call.say('ends.');
    call.finish();
    const heard = await Promise.all(ends);
    expect(calls).toHaveLength(1);
    expect(heard[7]).toMatchObject({ text: 'Where a river ', terminal: { code: 'cancelled' } });
    for (const [i, { text, terminal }] of heard.entries()) {
      if (i !== 7) expect([text, terminal.type]).toEqual(['Where a river ends.', EVENT.end]);
    }
  });

  it('ends it when the last of them has cancelled, and asks anew after that', async () => {
    const { provider, calls, nextCall } = stage();
    const socket = connect((await startServer(provider)).url);
    await ask(socket, 'A');
    await ask(socket, 'B');
    const call = await nextCall();
    await socket.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    await socket.emitWithAck(EVENT.cancel, { stream_id: 'B' });
    await expect(call.aborted).resolves.toBeUndefined();
    await ask(socket, 'C');
    await nextCall();
    expect(calls).toHaveLength(2);
  });

  it('has the whole text, however late it comes', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const first = connect(url, ME);
    await ask(first, 'A');
    const call = await nextCall();
    call.say('Where a river ');
    await next(first, EVENT.chunk);
    const late = connect(url, ME);
    const ended = collect(late);
    await ask(late, 'B');
    call.say('ends.');
    call.finish();
    expect((await ended).text).toBe('Where a river ends.');
  });

  it.each([
    [
      'no options, empty ones and defaults',
      [
        {},
        { options: {} },
        { options: { cache: 'default', thoughts: false, stop: [] } },
        { context: [], client_tools: [], omitted_messages: 2, continue_text: '' },
      ],
    ],
    [
      'the same options in another order',
      [
        { options: { seed: 7, temperature: 1, stop: ['x'] } },
        { options: { stop: ['x'], temperature: 1, seed: 7 } },
      ],
    ],
  ])(
    'shares it between requests that differ only in how they are written: %s',
    async (_, asked) => {
      const { provider, calls, nextCall } = stage();
      const socket = connect((await startServer(provider)).url);
      for (const [i, options] of asked.entries()) await ask(socket, `${i}`, options);
      await nextCall();
      const { streams } = await socket.emitWithAck(EVENT.list, {});
      expect(streams).toHaveLength(asked.length);
      expect(calls).toHaveLength(1);
    },
  );

  it.each([{ temperature: 0 }, { stop: ['x'] }, { thoughts: true }])(
    'shares nothing with a request that has %j',
    async (options) => {
      const { provider, nextCall } = stage();
      const socket = connect((await startServer(provider)).url);
      await ask(socket, 'A');
      await ask(socket, 'B', { options });
      await expect(Promise.all([nextCall(), nextCall()])).resolves.toHaveLength(2);
    },
  );

  it.each([
    ['it asks for a new answer', ME, { options: { cache: 'reload' } }],
    ['nothing of it may be kept', ME, { options: { cache: 'no-store' } }],
    ['the question differs', ME, { query: 'q?' }],
  ])('shares nothing where %s', async (_, auth, options) => {
    const { provider, calls, nextCall } = stage();
    const { url } = await startServer(provider);
    await ask(connect(url, ME), 'A', { ...options, query: 'q' });
    await nextCall();
    await ask(connect(url, auth), 'B', options);
    await nextCall();
    expect(calls).toHaveLength(2);
  });
});

describe('a branch of a log', () => {
  it('ends where it was cut, while the log goes on', () => {
    const trunk = createLog();
    const branch = createLogView(trunk);
    trunk.append(START);
    trunk.append({ type: 'text', text: 'Hello' });
    branch.append(CANCELLED);
    trunk.append({ type: 'text', text: ' you' });
    expect(branch.append(CANCELLED)).toBe(false);
    expect([branch.head, branch.done, trunk.done]).toEqual([7, true, false]);
    expect(branch.read(5, 1)).toMatchObject({ size: 1, entry: { text: 'o' } });
    expect(branch.read(1, 100)).toMatchObject({ size: 5, entry: { text: 'Hello' } });
    expect(branch.read(6, 100)).toEqual({ offset: 6, size: 1, entry: CANCELLED });
    expect(branch.read(7, 100)).toBeUndefined();
    expect(trunk.read(1, 100)).toMatchObject({ entry: { text: 'Hello you' } });
  });

  it('leaves out half a surrogate pair whose other half had not come', () => {
    const trunk = createLog();
    const branch = createLogView(trunk);
    trunk.append({ type: 'text', text: `a${'🦊'.slice(0, 1)}` });
    branch.append(CANCELLED);
    trunk.append({ type: 'text', text: '🦊'.slice(1) });
    expect(branch.read(0, 100)).toMatchObject({ size: 1, entry: { text: 'a' } });
    expect(branch.read(1, 100)).toMatchObject({ entry: CANCELLED });
  });

  it('ends with the log where it has no end of its own', () => {
    const trunk = createLog();
    const branch = createLogView(trunk);
    trunk.append({ type: 'text', text: 'Hello' });
    trunk.append(CANCELLED);
    expect(branch.done).toBe(true);
    expect(branch.append(CANCELLED)).toBe(false);
    expect(branch.read(5, 1)).toMatchObject({ entry: CANCELLED });
  });
});

describe('two users who ask the same at the same time', () => {
  const tool = { name: 't', description: 'Does.', parameters: {}, call: async () => 'done' };

  it.each<[string, Parameters<typeof startServer>[1], boolean]>([
    ['without `authenticate`', {}, true],
    ['with `authenticate`', { authenticate: ({ token }) => ({ principal: token! }) }, false],
    [
      'with `authenticate` and the scope `shared`',
      { authenticate: ({ token }) => ({ principal: token! }), cache: { scope: 'shared' } },
      true,
    ],
    ['with the scope `principal`', { cache: { scope: 'principal' } }, false],
    ['where the model may call tools', { tools: [tool] }, false],
  ])('%s', async (_, options, isShared) => {
    const { provider, calls, nextCall } = stage();
    const { url } = await startServer(provider, options);
    const [one, two] = ['one', 'two'].map((name) =>
      connect(url, { token: name, browser_id: `the-browser-of-visitor-${name}` }),
    ) as [Socket, Socket];
    const ends = [collect(one), collect(two)];
    await ask(one, 'A');
    await ask(two, 'A');
    const asked = isShared ? [await nextCall()] : [await nextCall(), await nextCall()];
    for (const call of asked) {
      call.say('Where a river ends.');
      call.finish();
    }
    for (const { text } of await Promise.all(ends)) expect(text).toBe('Where a river ends.');
    expect(calls).toHaveLength(asked.length);

    const third = connect(url, { token: 'three', browser_id: 'the-browser-of-visitor-three' });
    const again = collect(third);
    // An answer that used no tool is cached for all, also where a flight is not shared.
    const isCached = isShared || options?.tools !== undefined;
    await ask(third, 'A');
    if (!isCached) {
      const call = await nextCall();
      call.say('Where a river ends.');
      call.finish();
    }
    await again;
    expect(calls).toHaveLength(asked.length + (isCached ? 0 : 1));
  });
});
