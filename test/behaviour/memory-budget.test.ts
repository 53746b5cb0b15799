import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EVENT, LIMITS, type StreamReply } from '@rivulet/protocol';
import { attachRivulet, createLogger, mockProvider, type StreamedEntry } from '@rivulet/server';
import { Server, type Socket as ServerSocket } from 'socket.io';
import type { Socket } from 'socket.io-client';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Generation } from '../../packages/server/src/deliver/generation.js';
import { createMemoryBudget } from '../../packages/server/src/deliver/memory-budget.js';
import { StreamRegistry } from '../../packages/server/src/deliver/stream-registry.js';
import { Subscriptions } from '../../packages/server/src/socket/subscriptions.js';
import { heldBytes } from '../harness/heap.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { type Call, stage } from '../harness/stage.js';
import { generateFrom } from '../harness/generate.js';

const BUDGET = 1_600_000;
/** Units of text that fill most of the eighth of one principal. */
const MOST_OF_A_SHARE = 80_000;

const LIMITS_OF_STREAMS = {
  maxLogBytes: 1_000_000_000,
  maxStreamsPerPrincipal: 64,
  detachTimeoutMs: 60_000,
  disconnectTimeoutMs: 60_000,
  finishedRetentionMs: 60_000,
};

const principal = (n: number) => ({ browser_id: `the-browser-of-visitor-${n}` });
const start = (socket: Socket, message: object): Promise<StreamReply> =>
  socket.emitWithAck(EVENT.start, message);
const resume = (socket: Socket, stream_id: string) =>
  socket.emitWithAck(EVENT.resume, { stream_id, offset: 0 });

async function crowd() {
  const { provider, nextCall } = stage();
  const { url } = await startServer(provider, { limits: { maxLogBytes: BUDGET } });

  /** Starts a stream on a connection of its own. */
  async function open(n: number, stream_id: string) {
    const socket = connect(url, principal(n));
    const ended = collect(socket);
    const reply = await start(socket, { query: stream_id, stream_id });
    expect(reply).toMatchObject({ ok: true });
    const call = await nextCall();
    /** Resolves when the reader has the text. */
    async function say(text: string): Promise<void> {
      const last = text.slice(-1);
      const heard = next<{ data: string }>(socket, EVENT.chunk, ({ data }) => data.endsWith(last));
      call.say(text);
      await heard;
    }
    return { socket, call, ended, say };
  }
  return { url, open, nextCall };
}

async function finish(call: Call, ended: Promise<unknown>): Promise<void> {
  call.finish();
  await ended;
}

describe('a principal that uses an eighth of the memory budget', () => {
  it('loses its own finished streams first, and others lose none', async () => {
    const { open } = await crowd();
    const other = await open(2, 'theirs');
    await other.say('x'.repeat(MOST_OF_A_SHARE));
    await finish(other.call, other.ended);

    const first = await open(1, 'first');
    await first.say('x'.repeat(MOST_OF_A_SHARE));
    await finish(first.call, first.ended);
    const second = await open(1, 'second');
    await second.say('y'.repeat(MOST_OF_A_SHARE));
    expect(await resume(second.socket, 'first')).toMatchObject({ error: { code: 'not_found' } });
    expect(await resume(other.socket, 'theirs')).toMatchObject({ ok: true });
  });

  it('is refused new streams with the reason, and others start theirs', async () => {
    const { url, open } = await crowd();
    const { socket, say } = await open(1, 'long');
    await say('x'.repeat(MOST_OF_A_SHARE));
    const context = [{ role: 'user', content: 'z'.repeat(30_000) }];
    const refused = await start(socket, { query: 'another', context });
    expect(refused).toMatchObject({
      error: { code: 'overloaded', message: expect.stringContaining('your answers') },
    });
    const other = connect(url, principal(2));
    expect(await start(other, { query: 'another', context })).toMatchObject({ ok: true });
  });

  it('has its growing stream ended with the reason, and those of others go on', async () => {
    const { open } = await crowd();
    const mine = await open(1, 'mine');
    const other = await open(2, 'theirs');
    await other.say('x'.repeat(MOST_OF_A_SHARE));
    await mine.say('x'.repeat(MOST_OF_A_SHARE));
    mine.call.say('y'.repeat(MOST_OF_A_SHARE));
    expect(await mine.ended).toMatchObject({
      terminal: { code: 'overloaded', message: expect.stringContaining('your answers') },
    });
    await other.say('done');
    await finish(other.call, other.ended);
    expect(await other.ended).toMatchObject({
      text: `${'x'.repeat(MOST_OF_A_SHARE)}done`,
      terminal: { type: EVENT.end },
    });
  });
});

describe('a full memory budget', () => {
  it('ends streams of the principal that uses the most, so that a small one goes on', async () => {
    const { open } = await crowd();
    const heavy = [];
    for (let n = 0; n < 9; n++) {
      const stream = await open(n, `heavy ${n}`);
      await stream.say('x'.repeat(MOST_OF_A_SHARE + n * 500));
      heavy.push(stream);
    }
    const light = await open(100, 'light');
    for (let i = 0; i < 5; i++) await light.say('y'.repeat(12_000 + i));
    await finish(light.call, light.ended);
    expect((await light.ended).terminal).toMatchObject({ type: EVENT.end, complete: true });
    expect((await heavy.at(-1)!.ended).terminal).toMatchObject({ code: 'overloaded' });
  });

  it('keeps the finished stream that a small principal is still reading', async () => {
    const { url, open, nextCall } = await crowd();
    const slow = connect(url, principal(200));
    const begun = next(slow, EVENT.shortChunk);
    await start(slow, { query: 'slow', stream_id: 'slow', window: 100 });
    const call = await nextCall();
    call.say('z'.repeat(1_000));
    call.finish();
    await begun;
    await vi.waitFor(async () => {
      expect(await slow.emitWithAck(EVENT.list, {})).toMatchObject({ streams: [] });
    });
    const heavy = [];
    for (let n = 0; n < 11; n++) {
      const stream = await open(n, `heavy ${n}`);
      stream.call.say('x'.repeat(MOST_OF_A_SHARE));
      heavy.push(stream.ended);
    }
    expect((await Promise.race(heavy)).terminal).toMatchObject({ code: 'overloaded' });
    expect(await resume(slow, 'slow')).toMatchObject({ ok: true });
  });
});

describe('the count of a generation that two principals share', () => {
  it('is once for each of them, and once in total', () => {
    const budget = createMemoryBudget();
    const listener = {
      onGrowth() {},
      onStatusChange() {},
      isDetached: () => false,
      onPreempt() {},
      mayRestart: () => true,
    };
    const generation = new Generation({ query: 'q' }, 1_000, 'request', listener);
    budget.add(generation, 'a');
    budget.add(generation, 'a');
    budget.add(generation, 'b');
    const [total, a, b] = [budget.usedBytes, budget.usedBytesOf('a'), budget.usedBytesOf('b')];
    generation.log.append({ type: 'text', text: 'x'.repeat(50_000) });
    budget.update(generation);
    const growths = [
      budget.usedBytes - total,
      budget.usedBytesOf('a') - a,
      budget.usedBytesOf('b') - b,
    ];
    expect(growths).toEqual([growths[0], growths[0], growths[0]]);
    expect(growths[0]).toBeGreaterThanOrEqual(100_000);
    budget.remove(generation, 'a');
    expect(budget.usedBytesOf('a')).toBeGreaterThan(100_000);
    budget.remove(generation, 'a');
    expect(budget.usedBytesOf('a')).toBe(0);
    expect(budget.largestPrincipal()).toBe('b');
    budget.remove(generation, 'b');
    expect([budget.usedBytes, budget.usedBytesOf('b'), budget.largestPrincipal()]).toEqual([
      0,
      0,
      undefined,
    ]);
  });
});

/** A connection whose transport takes nothing. */
function stoppedSocket(): ServerSocket {
  const transport = Object.assign(new EventEmitter(), { writable: false });
  const conn = Object.assign(new EventEmitter(), { transport });
  const nsp = { name: '/', server: { _opts: {} } };
  return { conn, nsp, listenersAnyOutgoing: () => [] } as unknown as ServerSocket;
}

describe('a closed reader of a connection that takes nothing', () => {
  const UNITS = 5_000_000;

  function open(id: string): { streams: StreamRegistry; socket: ServerSocket; read: () => void } {
    const streams = new StreamRegistry(
      generateFrom(async function* () {
        yield { type: 'text', text: '河'.repeat(UNITS) };
        yield { type: 'error', code: 'cancelled', message: 'unable to go on' };
      }),
      LIMITS_OF_STREAMS,
    );
    onTestFinished(() => streams.close());
    const identity = { principal: 'me', id, sessionId: undefined, query: id };
    streams.start(identity, { query: id });
    const socket = stoppedSocket();
    const subscriptions = new Subscriptions(socket);
    // Keeps the subscriptions alive as the connection would.
    Object.assign(socket, { subscriptions });
    const read = () => {
      const options = { offset: 0, window: undefined, readerId: 'the reader', arrival: 1 };
      subscriptions.subscribe(streams.get('me', id), options);
    };
    return { streams, socket, read };
  }

  it('lets go of a log that was dropped', async () => {
    const before = await heldBytes();
    const { streams, socket, read } = open('A');
    read();
    await vi.waitFor(() => expect(streams.running('me')).toHaveLength(0));
    expect((await heldBytes()) - before).toBeGreaterThan(UNITS);
    streams.forgetPrincipal('me');
    expect((await heldBytes()) - before).toBeLessThan(UNITS);
    expect(socket.conn.transport.writable).toBe(false);
  });

  it('lets go of a log that the same reader then read on another connection', async () => {
    const before = await heldBytes();
    const { streams, socket, read } = open('A');
    read();
    await vi.waitFor(() => expect(streams.running('me')).toHaveLength(0));
    const other = new Subscriptions(stoppedSocket());
    const options = { offset: 0, window: undefined, readerId: 'the reader', arrival: 1 };
    other.subscribe(streams.get('me', 'A'), options);
    other.disconnect();
    streams.forgetPrincipal('me');
    expect((await heldBytes()) - before).toBeLessThan(UNITS);
    expect(socket.conn.transport.writable).toBe(false);
  });
});

describe('the streaming core', () => {
  it('keeps no copy of a running answer that is too long to be cached', async () => {
    const COUNT = 500_000;
    let during = 0;
    const provider = mockProvider(async function* () {
      const before = await heldBytes();
      for (let i = 0; i < COUNT; i++)
        yield { text: Buffer.from([97 + (i % 26)]).toString('latin1') };
      during = (await heldBytes()) - before;
      yield { finish: 'stop' };
    });
    const llm = serviceOf(provider, { limits: { maxResponseUnits: 2_000_000 } });
    let units = 0;
    for await (const entry of llm.generateResponseStream({ query: 'q' })) {
      if (entry.type === 'text') units += entry.text.length;
    }
    expect(units).toBe(COUNT);
    expect(during).toBeLessThan(1_000_000);
  });

  it('counts and hashes a text that comes in halves of surrogate pairs as one text', async () => {
    const { provider, nextCall } = stage();
    const entries = entriesOf(serviceOf(provider).generateResponseStream({ query: 'q' }));
    const call = await nextCall();
    const text = `${'a'.repeat(1_023)}🦊${'b'.repeat(1_022)}🦊`;
    for (const unit of text.split('')) call.say(unit);
    call.finish();
    expect((await entries).at(-1)).toMatchObject({
      totalLength: text.length,
      digest: createHash('sha256').update(text).digest('hex'),
    });
  });
});

describe('requests', () => {
  it('are not kept after they were carried out', async () => {
    const { provider } = stage();
    const http = createServer();
    const io = new Server(http);
    attachRivulet(io, serviceOf(provider), { logger: createLogger('silent') });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void io.close());
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    const requests = [{ query: 'q', stream_id: 'A' }];
    const socket = connect(url, { ...principal(1), tenant: 'mine', requests });
    await next(socket, EVENT.reply);
    const [server] = io.of('/').sockets.values();
    expect(server!.handshake.auth).toEqual({ ...principal(1), tenant: 'mine' });
  });

  it('leave no more of a long query in memory than the list of streams shows', async () => {
    const llm = mockProvider(() => [{ text: 'x' }, { finish: 'stop' }]);
    const rateLimit = { requests: 1_000 };
    const limits = { maxBytesPerSecond: 100_000_000 };
    const { url } = await startServer(llm, { rateLimit, limits, cache: { enabled: false } });
    const socket = connect(url, principal(1));
    const ask = async (n: number) => {
      const ended = collect(socket);
      await start(socket, { query: `${n} `.padEnd(LIMITS.queryUnits, '河') });
      await ended;
    };
    for (let n = 0; n < 20; n++) await ask(n);
    const before = await heldBytes();
    for (let n = 20; n < 220; n++) await ask(n);
    // Each query has 64 KiB.
    expect((await heldBytes()) - before).toBeLessThan(4_000_000);
  });
});

describe('the parsed JSON of a client', () => {
  const UNITS = 100_000;
  const repeated = (item: string): string =>
    `[${Array<string>(Math.floor(UNITS / (item.length + 1)))
      .fill(item)
      .join(',')}]`;
  const named = Array.from({ length: UNITS / 11 }, (_, i) => `"${10_000 + i}":{}`);
  const shapes: Readonly<Record<string, string>> = {
    'empty objects': repeated('{}'),
    'short lists': repeated('[1]'),
    'many names': `{${named.join(',')}}`,
  };

  function waiting(steps: (bodyOf: (json: string) => unknown) => StreamedEntry[]) {
    const held: unknown[] = [];
    const streams = new StreamRegistry(async (_request, sink, { signal }) => {
      for (const entry of steps((json) => JSON.parse(json) as unknown)) {
        held.push(entry);
        void sink.write(entry);
      }
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    }, LIMITS_OF_STREAMS);
    onTestFinished(() => streams.close());
    return { streams, held };
  }

  it.each(Object.keys(shapes))('counts as what the tools of a request take: %s', async (shape) => {
    const json = shapes[shape]!;
    const { streams } = waiting(() => []);
    const before = await heldBytes();
    for (let n = 0; n < 10; n++) {
      const parameters = { type: 'object', properties: JSON.parse(json) as unknown };
      const clientTools = [{ name: 'place', description: 'Says where.', parameters }];
      const identity = { principal: 'me', id: `${n}`, sessionId: undefined, query: 'q' };
      streams.start(identity, { query: 'q', clientTools });
    }
    const grown = (await heldBytes()) - before;
    expect(grown).toBeGreaterThan(10 * 2 * UNITS);
    expect(streams.size.logBytes).toBeGreaterThan(grown * 0.7);
  });

  it.each(Object.keys(shapes))(
    'counts as what the results of a running answer take: %s',
    async (shape) => {
      const json = shapes[shape]!;
      const { streams, held } = waiting((parsed) =>
        Array.from({ length: 10 }, (_, i) => {
          const callId = `call-${i + 1}`;
          return { type: 'tool_result', callId, name: 'place', result: parsed(json) };
        }),
      );
      const before = await heldBytes();
      const identity = { principal: 'me', id: 'A', sessionId: undefined, query: 'q' };
      streams.start(identity, { query: 'q' });
      const grown = (await heldBytes()) - before;
      expect(held).toHaveLength(10);
      expect(streams.size.logBytes).toBeGreaterThan(grown * 0.7);
    },
  );
});
