import { EVENT } from '@rivulet/protocol';
import {
  type EndedStream,
  mockProvider,
  type MockStep,
  type OnEnd,
  ProviderError,
  type ServerOptions,
  StreamError,
} from '@rivulet/server';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { StreamRegistry } from '../../packages/server/src/deliver/stream-registry.js';
import type { EndEntry, StartEntry } from '../../packages/server/src/entry.js';
import { deferred } from '../harness/deferred.js';
import { collect, next } from '../harness/plain-client.js';
import { providersOf } from '../harness/providers.js';
import { startServer } from '../harness/rivulet.js';
import { stage } from '../harness/stage.js';
import { connectAs, keepingLogger, start, USERS } from '../harness/users.js';

/** A hook that keeps what it was told. */
function keeping() {
  const ends: EndedStream[] = [];
  const onEnd: OnEnd = (ended) => void ends.push(ended);
  return { ends, onEnd, ended: (count = 1) => vi.waitFor(() => expect(ends).toHaveLength(count)) };
}

/** A server whose model is a script, and its hook. */
async function scripted(script: readonly MockStep[], options: ServerOptions = {}) {
  const hook = keeping();
  const server = await startServer(
    mockProvider(() => script),
    { ...USERS, onEnd: hook.onEnd, ...options },
  );
  return { server, ...hook };
}

/** A server whose model the test plays, and its hook. */
async function played(options: ServerOptions = {}) {
  const hook = keeping();
  const { provider, nextCall } = stage();
  const server = await startServer(provider, { ...USERS, onEnd: hook.onEnd, ...options });
  return { server, nextCall, ...hook };
}

/** Gives time to a second call, which would come in a later turn. */
async function staysAt(ends: readonly EndedStream[], count: number): Promise<void> {
  await turns();
  expect(ends).toHaveLength(count);
}

/** Gives work that is ready ten turns of the event loop. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const HELLO = [{ text: 'Hello.' }, { finish: 'stop', usage: { output_tokens: 2 } }] as const;

describe('onEnd', () => {
  it('is told of an answer: who, what, the text, the tools, the tokens, the times', async () => {
    const read = {
      name: 'read',
      description: 'Reads.',
      parameters: { type: 'object' },
      call: async (_: unknown, { principal }: { principal?: string }) => ({ for: principal }),
    };
    const hook = keeping();
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { ...USERS, tools: [read], onEnd: hook.onEnd });
    const socket = connectAs(url, 'ann');
    const collected = collect(socket);
    await start(socket, 'A', { session_id: 'S', options: { seed: 1 } });
    const asking = await nextCall();
    asking.callTool('read', { of: 'x' });
    asking.callTool('none', {});
    asking.finish();
    const answering = await nextCall();
    answering.say('Hello.');
    answering.finish('length');
    const { terminal } = await collected;
    await hook.ended();
    expect(hook.ends[0]).toEqual({
      principal: 'ann',
      streamId: 'A',
      sessionId: 'S',
      request: { query: 'q', options: { seed: 1 } },
      text: 'Hello.',
      tools: [
        { callId: 'call-1', name: 'read', arguments: { of: 'x' }, result: { for: 'ann' } },
        { callId: 'call-2', name: 'none', arguments: {}, error: expect.any(String) },
      ],
      usage: {},
      outcome: 'length',
      attempt: { number: 1, source: 'model', provider: 'stage', model: 'script' },
      timing: (terminal as { timing?: unknown }).timing,
    });
  });

  it('is told that an answer came from the cache', async () => {
    const { server, ends, ended } = await scripted(HELLO);
    for (const id of ['A', 'B']) {
      const socket = connectAs(server.url, 'ann');
      const collected = collect(socket);
      await start(socket, id);
      await collected;
    }
    await ended(2);
    const facts = ends.map(({ streamId, text, outcome, usage, attempt }) => [
      streamId,
      text,
      outcome,
      usage.output_tokens,
      attempt?.source,
    ]);
    expect(facts).toEqual([
      ['A', 'Hello.', 'stop', 2, 'model'],
      ['B', 'Hello.', 'stop', 2, 'cache'],
    ]);
  });

  it.each<[string, readonly MockStep[], object]>([
    [
      'before its text',
      [{ fail: new ProviderError('unavailable', 'unable to') }],
      { text: '', outcome: 'provider_unavailable', tools: [] },
    ],
    [
      'after text',
      [{ text: 'Hello' }, { fail: new ProviderError('truncated', 'unable to') }],
      { text: 'Hello', outcome: 'truncated', attempt: { number: 1 }, usage: {} },
    ],
    ['with a fault', [{ text: 'Hello' }, { fail: new Error('no') }], { outcome: 'internal' }],
  ])('is told of an answer that failed %s', async (_, script, expected) => {
    const { server, ends, ended } = await scripted(script);
    await start(connectAs(server.url, 'ann'), 'A');
    await ended();
    expect(ends[0]).toMatchObject({ timing: { total_ms: expect.any(Number) }, ...expected });
    await server.close();
    await staysAt(ends, 1);
  });

  it('has the text of the last attempt only', async () => {
    const failing = mockProvider(() => [
      { text: 'Wrong' },
      { fail: new ProviderError('truncated', 'unable to') },
    ]);
    const providers = providersOf(
      failing,
      mockProvider(() => HELLO, { name: 'second' }),
    );
    const { server, ends, ended } = await scripted([], { providers });
    await start(connectAs(server.url, 'ann'), 'A', { window: 1_000 });
    await ended();
    expect(ends[0]).toMatchObject({
      text: 'Hello.',
      attempt: { number: 2, provider: 'second' },
      outcome: 'stop',
    });
  });

  it('is called once for a cancelled stream, with its text and the tool that was running', async () => {
    const running = deferred<AbortSignal>();
    const slow = {
      name: 'slow',
      description: 'Waits.',
      parameters: { type: 'object' },
      call: (_: unknown, { signal }: { signal: AbortSignal }) => {
        running.resolve(signal);
        return new Promise<never>(() => {});
      },
    };
    const { server, nextCall, ends, ended } = await played({ tools: [slow] });
    const socket = connectAs(server.url, 'ann');
    await start(socket, 'A');
    const call = await nextCall();
    call.say('I wait.');
    call.callTool('slow', {});
    call.finish('stop', undefined, { input_tokens: 90, output_tokens: 5 });
    await running.promise;
    for (let i = 0; i < 2; i++) await socket.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    await ended();
    expect(ends[0]).toMatchObject({
      text: 'I wait.',
      outcome: 'cancelled',
      usage: { input_tokens: 90, output_tokens: 5 },
    });
    expect(ends[0]!.tools).toEqual([{ callId: 'call-1', name: 'slow', arguments: {} }]);
    await server.close();
    await staysAt(ends, 1);
  });

  describe('has the tokens of the calls that ended before the answer', () => {
    const USAGE = { input_tokens: 90, output_tokens: 5 };
    const read = {
      name: 'read',
      description: 'Reads.',
      parameters: { type: 'object' },
      call: async () => 'x',
    };

    async function afterTool(options: ServerOptions = {}) {
      const run = await played({ tools: [read], ...options });
      const socket = connectAs(run.server.url, 'ann');
      await start(socket, 'A');
      const asking = await run.nextCall();
      asking.callTool('read', {});
      asking.finish('stop', undefined, USAGE);
      const answering = await run.nextCall();
      answering.say('Hello');
      await next(socket, EVENT.chunk);
      return { ...run, socket, answering };
    }

    it('was cancelled', async () => {
      const { socket, ends, ended } = await afterTool();
      await socket.emitWithAck(EVENT.cancel, { stream_id: 'A' });
      await ended();
      expect(ends[0]).toMatchObject({ outcome: 'cancelled', usage: USAGE });
    });

    it('lost its reader', async () => {
      const { socket, ends, ended } = await afterTool({
        limits: { detachTimeoutMs: 1, disconnectTimeoutMs: 1 },
      });
      socket.disconnect();
      await ended();
      expect(ends[0]).toMatchObject({ outcome: 'cancelled', usage: USAGE });
    });

    it('failed', async () => {
      const { answering, ends, ended } = await afterTool();
      answering.fail(new ProviderError('truncated', 'unable to'));
      await ended();
      expect(ends[0]).toMatchObject({ outcome: 'truncated', usage: USAGE });
    });

    it('was ended by a drain', async () => {
      const { server, ends, ended } = await afterTool();
      await server.drain(0);
      await ended();
      expect(ends[0]).toMatchObject({ usage: USAGE });
    });

    it('was restarted, and adds those of the attempt that is shown', async () => {
      const { provider, nextCall } = stage('first');
      const hook = keeping();
      const second = mockProvider(() => HELLO, { name: 'second' });
      const providers = providersOf(provider, second);
      const { url } = await startServer(provider, { ...USERS, providers, onEnd: hook.onEnd });
      await start(connectAs(url, 'ann'), 'A', { window: 1_000 });
      // An answer without text is a failure.
      (await nextCall()).finish('stop', undefined, USAGE);
      await hook.ended();
      expect(hook.ends[0]).toMatchObject({
        attempt: { provider: 'second' },
        usage: { input_tokens: 90, output_tokens: 7 },
      });
    });
  });

  it('is called though nobody reads: the connection is gone', async () => {
    const { server, nextCall, ends, ended } = await played();
    const socket = connectAs(server.url, 'ann');
    await start(socket, 'A');
    const call = await nextCall();
    call.say('Hello');
    await next(socket, EVENT.chunk);
    socket.disconnect();
    call.say(' you.');
    call.finish();
    await ended();
    expect(ends[0]).toMatchObject({ text: 'Hello you.', outcome: 'stop' });
  });

  it('is called when a stream is abandoned', async () => {
    const { server, nextCall, ends, ended } = await played({ limits: { detachTimeoutMs: 10 } });
    const socket = connectAs(server.url, 'ann');
    await start(socket, 'A');
    await nextCall();
    await socket.emitWithAck(EVENT.detach, { stream_id: 'A' });
    await ended();
    expect(ends[0]).toMatchObject({ outcome: 'cancelled', text: '' });
  });

  it('is called when prepare refuses, also when that fails', async () => {
    const { server, ends, ended } = await scripted(HELLO, {
      prepare({ principal }) {
        if (principal === 'ann') throw new StreamError('rate_limited', 'unable to: too many');
        throw new Error('no');
      },
    });
    await start(connectAs(server.url, 'ann'), 'A');
    await ended(1);
    await start(connectAs(server.url, 'bob'), 'A');
    await ended(2);
    expect(ends.map(({ outcome, attempt }) => [outcome, attempt])).toEqual([
      ['rate_limited', undefined],
      ['internal', undefined],
    ]);
  });

  it('is called for each stream of a generation that users share, each with its own end', async () => {
    const { server, nextCall, ends, ended } = await played({ cache: { scope: 'shared' } });
    const [ann, bob] = [connectAs(server.url, 'ann'), connectAs(server.url, 'bob')];
    await start(ann, 'A', { session_id: 'of ann' });
    await start(bob, 'B');
    const call = await nextCall();
    call.say('Hello');
    await next(ann, EVENT.chunk);
    await ann.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    call.say(' you.');
    call.finish();
    await ended(2);
    expect(ends).toMatchObject([
      { principal: 'ann', streamId: 'A', sessionId: 'of ann', text: 'Hello', outcome: 'cancelled' },
      { principal: 'bob', streamId: 'B', text: 'Hello you.', outcome: 'stop' },
    ]);
    expect(ends[1]).not.toHaveProperty('sessionId');
  });

  it('is given copies: what it does to them changes nothing for others', async () => {
    const told: EndedStream[] = [];
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      ...USERS,
      cache: { scope: 'shared' },
      onEnd(ended) {
        told.push(structuredClone(ended));
        ended.request.query = 'changed';
        (ended.request.context as { content: string }[] | undefined)!.length = 0;
        ended.usage.output_tokens = -1;
      },
    });
    const context = [{ role: 'user', content: 'Hi.' }];
    await start(connectAs(url, 'ann'), 'A', { context });
    await start(connectAs(url, 'bob'), 'B', { context });
    const call = await nextCall();
    call.say('Hello.');
    call.finish();
    await vi.waitFor(() => expect(told).toHaveLength(2));
    for (const { request, usage } of told) {
      expect([request, usage]).toEqual([{ query: 'q', context }, {}]);
    }
    expect((await collectLate(url)).terminal).toMatchObject({ usage: {} });

    async function collectLate(of: string) {
      const socket = connectAs(of, 'ann');
      const collected = collect(socket);
      await socket.emitWithAck(EVENT.resume, { stream_id: 'A', offset: 0 });
      return collected;
    }
  });

  it('is called for a stream that is dropped because memory is short', async () => {
    const { server, nextCall, ends, ended } = await played({ limits: { maxLogBytes: 400_000 } });
    await start(connectAs(server.url, 'ann'), 'A');
    const call = await nextCall();
    for (let i = 0; i < 60; i++) call.say('x'.repeat(1_000));
    await ended();
    expect(ends[0]).toMatchObject({ outcome: 'overloaded', text: expect.stringMatching(/^x+$/) });
    await server.close();
    await staysAt(ends, 1);
  });

  it('is called for a stream that is dropped in the turn in which it ends', async () => {
    const { ends, onEnd } = keeping();
    const hooks = { prepare: undefined, onEnd, logger: keepingLogger().logger };
    const limits = {
      maxLogBytes: 1_000_000,
      maxStreamsPerPrincipal: 8,
      detachTimeoutMs: 1_000,
      disconnectTimeoutMs: 1_000,
      finishedRetentionMs: 1_000,
    };
    const begin: StartEntry = {
      type: 'start',
      attempt: 1,
      source: 'model',
      provider: 'p',
      model: 'm',
    };
    const end: EndEntry = {
      ...begin,
      type: 'end',
      finishReason: 'stop',
      totalLength: 0,
      digest: '',
      usage: {},
      timing: { total_ms: 1 },
    };
    const streams = new StreamRegistry(
      async (_, sink) => {
        for (const entry of [begin, end]) void sink.write(entry);
        await streams.forget('me');
      },
      limits,
      { hooks },
    );
    const request = { query: 'q', principal: 'me' };
    streams.start({ principal: 'me', id: 'A', sessionId: undefined, query: 'q' }, request);
    await staysAt(ends, 1);
    expect(ends[0]).toMatchObject({ outcome: 'stop' });
    expect(streams.has('me', 'A')).toBe(false);
  });

  it.each<[string, OnEnd]>([
    [
      'throws',
      () => {
        throw new Error('secret');
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret'))],
  ])('that %s is logged and costs no answer', async (_, onEnd) => {
    const { logger, logged } = keepingLogger();
    const { server } = await scripted(HELLO, { onEnd, logger });
    const socket = connectAs(server.url, 'ann');
    const collected = collect(socket);
    await start(socket, 'A');
    expect((await collected).text).toBe('Hello.');
    const failed = () => logged.filter(({ event }) => event === 'LLM_HOOK_FAILED');
    await vi.waitFor(() => expect(failed()).toMatchObject([{ hook: 'onEnd', reason: 'failed' }]));
    expect(JSON.stringify(failed())).not.toContain('secret');
  });

  it('that hangs is given up and logged after 30 s', async () => {
    const { logger, logged } = keepingLogger();
    const called = deferred();
    const { server, nextCall } = await played({
      logger,
      onEnd() {
        called.resolve();
        return new Promise(() => {});
      },
    });
    await start(connectAs(server.url, 'ann'), 'A');
    const call = await nextCall();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    call.say('Hello.');
    call.finish();
    await called.promise;
    await vi.advanceTimersByTimeAsync(29_900);
    expect(logged.filter(({ event }) => event === 'LLM_HOOK_FAILED')).toEqual([]);
    await vi.advanceTimersByTimeAsync(100);
    expect(logged).toContainEqual(
      expect.objectContaining({ event: 'LLM_HOOK_FAILED', hook: 'onEnd', reason: 'timeout' }),
    );
  });

  it('that does not return has new streams refused, before its texts fill the memory', async () => {
    const waiting: (() => void)[] = [];
    const onEnd = () => new Promise<void>((resolve) => void waiting.push(resolve));
    const text = 'x'.repeat(20_000);
    const { server } = await scripted([{ text }, { finish: 'stop' }], {
      onEnd,
      limits: { maxLogBytes: 1_000_000 },
      env: { RATE_LIMIT_REQUESTS: '1000' },
    });
    let refusedAt: number | undefined;
    for (let i = 0; i < 20 && refusedAt === undefined; i++) {
      const socket = connectAs(server.url, `user-${i}`);
      const collected = collect(socket);
      const reply = await start(socket, 'A');
      if (reply.ok) await collected;
      else refusedAt = i;
      if (!reply.ok) expect(reply.error).toMatchObject({ code: 'overloaded', retryable: true });
    }
    // An eighth of a megabyte is filled by three texts of 40 KB, and a fourth passes it.
    expect(refusedAt).toBe(4);
    for (const resolve of waiting) resolve();
    await vi.waitFor(async () => {
      expect(await start(connectAs(server.url, 'later'), 'A')).toMatchObject({ ok: true });
    });
  });
});

describe('a drain', () => {
  it('waits for onEnd', async () => {
    const returned = deferred();
    const called = deferred();
    const { server } = await scripted(HELLO, {
      onEnd() {
        called.resolve();
        return returned.promise;
      },
    });
    const socket = connectAs(server.url, 'ann');
    const collected = collect(socket);
    await start(socket, 'A');
    await Promise.all([collected, called.promise]);
    let isDrained = false;
    const drained = server.drain(20_000).then(() => (isDrained = true));
    await turns();
    expect(isDrained).toBe(false);
    returned.resolve();
    await drained;
  });

  it('tells it of the answers that it interrupts, and gives it a second for them', async () => {
    const ends: EndedStream[] = [];
    let isStored = false;
    const { server, nextCall } = await played({
      async onEnd(ended) {
        ends.push(ended);
        // Longer than the drain takes to notice that all readers have the end.
        await new Promise((resolve) => setTimeout(resolve, 100));
        isStored = true;
      },
    });
    const socket = connectAs(server.url, 'ann');
    await start(socket, 'A');
    (await nextCall()).say('Where a river ');
    await next(socket, EVENT.chunk);
    await server.drain(0);
    expect(ends).toMatchObject([{ text: 'Where a river ', outcome: 'interrupted' }]);
    expect(isStored).toBe(true);
    await server.close();
    await staysAt(ends, 1);
  });

  it('ends though onEnd hangs', async () => {
    const { server } = await scripted(HELLO, { onEnd: () => new Promise(() => {}) });
    const socket = connectAs(server.url, 'ann');
    const collected = collect(socket);
    await start(socket, 'A');
    await collected;
    await expect(server.drain(100)).resolves.toBeUndefined();
  });
});
