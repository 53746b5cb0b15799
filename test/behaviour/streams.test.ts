import {
  EVENT,
  type StreamEndMessage,
  type StreamListReply,
  type StreamReply,
} from '@rivulet/protocol';
import type { Socket } from 'socket.io-client';
import { describe, expect, inject, it, vi } from 'vitest';
import { collect, connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { type Call, stage } from '../harness/stage.js';

const ME = { browser_id: 'the-browser-of-the-first-visitor' };
// A stream that was dropped from memory can still be read from Redis.
const isOverRedis = inject('redisUrl') !== undefined;
const OTHER = { browser_id: 'the-browser-of-someone-else' };

type Opened = StreamReply & { ref: number };

const start = (socket: Socket, message: object): Promise<Opened> =>
  socket.emitWithAck(EVENT.start, message);
const resume = (socket: Socket, message: object) => socket.emitWithAck(EVENT.resume, message);
const errorOf = (reply: { error?: { code: string } }): string | undefined => reply.error?.code;

/** Short chunks as they come: [ref, offset, text]. */
function shortChunks(socket: Socket): [number, number, string][] {
  const chunks: [number, number, string][] = [];
  socket.on(EVENT.shortChunk, (...chunk: [number, number, string]) => chunks.push(chunk));
  return chunks;
}

describe('starting a stream', () => {
  it('sends what the provider yields in one turn of the event loop as one chunk', async () => {
    const { provider, nextCall } = stage();
    const socket = connect((await startServer(provider)).url);
    await start(socket, { query: 'q' });
    const call = await nextCall();
    call.say('The first. ');
    await next(socket, EVENT.chunk);
    const rest = collect(socket);
    for (let i = 0; i < 16; i++) call.say(`${i} `);
    call.finish();
    expect((await rest).chunks).toEqual(['0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ']);
  });

  it('reads the running stream from its beginning when the same start comes again', async () => {
    const { provider, calls, nextCall } = stage();
    const { url } = await startServer(provider);
    const first = connect(url, ME);
    await start(first, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    call.say('Hello');
    await next(first, EVENT.chunk);

    const second = connect(url, ME);
    const bothGot = Promise.all([collect(first), collect(second)]);
    await start(second, { query: 'q', stream_id: 'A' });
    call.say(' you');
    call.finish();
    const [, late] = await bothGot;
    expect(late.text).toBe('Hello you');
    expect(calls).toHaveLength(1);
  });

  it('refuses an id that is taken by another request as `conflict`', async () => {
    const { provider } = stage();
    const socket = connect((await startServer(provider)).url);
    await start(socket, { query: 'q', stream_id: 'A' });
    expect(errorOf(await resume(socket, { stream_id: 'A', offset: 0 }))).toBeUndefined();
    const reply = await socket.emitWithAck(EVENT.start, { query: 'another', stream_id: 'A' });
    expect(errorOf(reply)).toBe('conflict');
  });

  it('refuses more streams than a principal may have as `overloaded`, and says when to come back', async () => {
    const { provider } = stage();
    const { url } = await startServer(provider, { limits: { maxStreamsPerPrincipal: 2 } });
    const socket = connect(url, ME);
    await start(socket, { query: '1' });
    await start(socket, { query: '2' });
    const reply = await socket.emitWithAck(EVENT.start, { query: '3' });
    expect(reply.error).toMatchObject({ code: 'overloaded', retryable: true });
    expect(reply.error.retry_after_ms).toBeGreaterThan(0);
    expect((await start(connect(url, OTHER), { query: '3' })).ok).toBe(true);
  });

  it.skipIf(isOverRedis)(
    'drops finished logs before it refuses a stream for want of memory',
    async () => {
      const { provider, nextCall } = stage();
      const { url } = await startServer(provider, { limits: { maxLogBytes: 800_000 } });
      const socket = connect(url);
      const ended = collect(socket);
      await start(socket, { query: '1', stream_id: 'finished' });
      const first = await nextCall();
      first.say('x'.repeat(60_000));
      first.finish();
      await ended;

      expect((await start(socket, { query: '2' })).ok).toBe(true);
      expect(errorOf(await resume(socket, { stream_id: 'finished', offset: 0 }))).toBe('not_found');
      const shown = next(socket, EVENT.chunk);
      (await nextCall()).say('y'.repeat(40_000));
      await shown;
      const context = [{ role: 'user', content: 'z'.repeat(20_000) }];
      const reply = await socket.emitWithAck(EVENT.start, { query: '3', context });
      expect(errorOf(reply)).toBe('overloaded');
    },
  );
});

describe('bounds', () => {
  it('count the request of a stream for as long as it runs', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { limits: { maxLogBytes: 1_600_000 } });
    const socket = connect(url);
    const context = [{ role: 'user', content: 'x'.repeat(60_000) }];
    await start(socket, { query: '1', stream_id: 'A', context });
    const refused = await socket.emitWithAck(EVENT.start, { query: '2', context });
    expect(errorOf(refused)).toBe('overloaded');
    const ended = collect(socket);
    (await nextCall()).finish();
    await ended;
    expect((await start(socket, { query: '2', context })).ok).toBe(true);
    expect(await resume(socket, { stream_id: 'A', offset: 0 })).toMatchObject({ ok: true });
  });

  it('end an answer that outgrows the memory that its principal may use, with its text so far', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { limits: { maxLogBytes: 800_000 } });
    const socket = connect(url);
    const ended = collect(socket);
    await start(socket, { query: '1' });
    const call = await nextCall();
    call.say('x'.repeat(30_000));
    call.say('y'.repeat(30_000));
    expect(await ended).toMatchObject({
      text: 'x'.repeat(30_000) + 'y'.repeat(30_000),
      terminal: { code: 'overloaded', retryable: true },
    });
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it.skipIf(isOverRedis)(
    'drop a finished log that is being read last of all, and tell its reader',
    async () => {
      const { provider, nextCall } = stage();
      const { url } = await startServer(provider, { limits: { maxLogBytes: 2_400_000 } });
      const slow = connect(url, ME);
      const chunks = shortChunks(slow);
      await start(slow, { query: 'read', stream_id: 'A', window: 100 });
      const first = await nextCall();
      first.say('x'.repeat(50_000));
      first.finish();
      await vi.waitFor(() => expect(chunks).toHaveLength(1));

      const other = connect(url, ME);
      const ended = collect(other);
      await start(other, { query: 'unread', stream_id: 'B' });
      const second = await nextCall();
      second.say('y'.repeat(50_000));
      second.finish();
      await ended;
      await start(other, { query: 'more', stream_id: 'C' });
      const more = await nextCall();
      const shown = next(other, EVENT.chunk);
      more.say('z'.repeat(75_000));
      await shown;
      expect(errorOf(await resume(other, { stream_id: 'B', offset: 0 }))).toBe('not_found');

      const told = next(slow, EVENT.error);
      more.say('z'.repeat(50_000));
      expect(await told).toMatchObject({ stream_id: 'A', offset: 100, code: 'interrupted' });
    },
  );
});

describe('two streams on one connection', () => {
  it('are sent in turns, so that a long one does not hold up a short one', async () => {
    const { provider, nextCall } = stage();
    const socket = connect((await startServer(provider)).url);
    const sources: string[] = [];
    socket.on(EVENT.chunk, ({ stream_id }) => sources.push(stream_id));
    await start(socket, { query: 'long', stream_id: 'long' });
    const long = await nextCall();
    await start(socket, { query: 'short', stream_id: 'short' });
    const short = await nextCall();
    const ended = next<StreamEndMessage>(socket, EVENT.end, (end) => end.stream_id === 'long');
    long.say('x'.repeat(1_900_000));
    short.say('y');
    long.finish();
    await ended;
    expect(sources.length).toBeGreaterThan(20);
    expect(sources.indexOf('short')).toBeLessThan(5);
  });
});

describe('attaching', () => {
  it('goes on at the offset, in short chunks that the reply named', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const first = connect(url, ME);
    await start(first, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    call.say('Hello');
    await next(first, EVENT.chunk);
    first.disconnect();

    const again = connect(url, ME);
    const chunks = shortChunks(again);
    const end = next(again, EVENT.end);
    const { ref } = await resume(again, { stream_id: 'A', offset: 4, window: 1000 });
    call.say(' you');
    call.finish();
    await end;
    expect(chunks[0]).toEqual([ref, 4, 'lo']);
    expect(chunks.map(([, , data]) => data).join('')).toBe('lo you');
  });

  it('finds no stream of another principal', async () => {
    const { provider, calls } = stage();
    const { url } = await startServer(provider);
    await start(connect(url, ME), { query: 'q', stream_id: 'A' });
    const stranger = connect(url, OTHER);
    for (const event of [EVENT.resume, EVENT.cancel, EVENT.detach, EVENT.ack]) {
      const foreign = await stranger.emitWithAck(event, { stream_id: 'A', offset: 0 });
      const missing = await stranger.emitWithAck(event, { stream_id: 'B', offset: 0 });
      expect(foreign).toEqual(missing);
      expect(errorOf(foreign)).toBe('not_found');
    }
    expect(calls).toHaveLength(1);
  });

  it('takes the place of the reader that this connection was', async () => {
    const { provider, nextCall } = stage();
    const socket = connect((await startServer(provider)).url);
    await start(socket, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    await resume(socket, { stream_id: 'A', offset: 0 });
    const chunks: string[] = [];
    socket.on(EVENT.chunk, ({ data }) => chunks.push(data));
    for (const word of ['Hello', ' you']) {
      call.say(word);
      await next(socket, EVENT.chunk);
      // All other messages arrive before this reply.
      await socket.emitWithAck(EVENT.list, {});
    }
    expect(chunks).toEqual(['Hello', ' you']);
  });

  it('refuses an offset that the stream has not reached', async () => {
    const { provider } = stage();
    const socket = connect((await startServer(provider)).url);
    await start(socket, { query: 'q', stream_id: 'A' });
    for (const where of [{ offset: 2 }, { offset: 1, window: 10 }]) {
      const refused = await resume(socket, { stream_id: 'A', ...where });
      expect(errorOf(refused)).toBe('bad_request');
    }
  });

  it('gives a finished stream until its time is over', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { limits: { finishedRetentionMs: 2_000 } });
    const socket = connect(url);
    const ended = collect(socket);
    await start(socket, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    call.say('Hello');
    call.finish();
    await ended;
    const again = collect(socket);
    await resume(socket, { stream_id: 'A', offset: 0 });
    expect((await again).text).toBe('Hello');
    await vi.waitFor(async () => {
      expect(errorOf(await resume(socket, { stream_id: 'A', offset: 0 }))).toBe('not_found');
    });
  });

  it('lists the streams of the principal that have not ended', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const socket = connect(url, ME);
    await start(socket, { query: 'first', stream_id: 'A', session_id: 's' });
    const call = await nextCall();
    await start(socket, { query: 'second', stream_id: 'B' });
    await start(socket, { query: 'third', stream_id: 'C' });
    await socket.emitWithAck(EVENT.cancel, { stream_id: 'C' });
    call.say('Hello');
    await next(socket, EVENT.chunk);
    const { streams } = (await connect(url, ME).emitWithAck(EVENT.list, {})) as StreamListReply;
    expect(streams).toEqual([
      { stream_id: 'A', session_id: 's', query: 'first', status: 'streaming', offset: 6 },
      { stream_id: 'B', query: 'second', status: 'waiting', offset: 0 },
    ]);
    expect((await connect(url, OTHER).emitWithAck(EVENT.list, {})).streams).toEqual([]);
  });
});

describe('a reader with a window', () => {
  it('is sent no more than the window beyond what it acknowledged', async () => {
    const { provider, nextCall } = stage();
    const socket = connect((await startServer(provider)).url);
    const chunks = shortChunks(socket);
    const received = (): number => chunks.reduce((sum, [, , data]) => sum + data.length, 0);
    await start(socket, { query: 'q', stream_id: 'A', window: 100 });
    const call = await nextCall();
    call.say('x'.repeat(250));
    call.finish();
    await vi.waitFor(() => expect(received()).toBe(99));
    // All messages that were sent before this reply have arrived.
    await socket.emitWithAck(EVENT.list, {});
    expect(received()).toBe(99);
    await socket.emitWithAck(EVENT.ack, { stream_id: 'A', offset: 100 });
    expect(received()).toBe(199);
    const end = next(socket, EVENT.end);
    await socket.emitWithAck(EVENT.ack, { stream_id: 'A', offset: 200 });
    await end;
    expect(received()).toBe(250);
  });

  it('gains nothing by acknowledging what it was not sent', async () => {
    const { provider, nextCall } = stage();
    const socket = connect((await startServer(provider)).url);
    const chunks = shortChunks(socket);
    await start(socket, { query: 'q', stream_id: 'A', window: 10 });
    (await nextCall()).say('x'.repeat(250));
    await vi.waitFor(() => expect(chunks).toHaveLength(1));
    await socket.emitWithAck(EVENT.ack, { stream_id: 'A', offset: 5_000 });
    await socket.emitWithAck(EVENT.list, {});
    expect(chunks).toHaveLength(1);
  });
});

/** A stream that is left now is cancelled by the time this resolves, so that earlier ones would be. */
async function leftAndCancelled(socket: Socket, nextCall: () => Promise<Call>): Promise<void> {
  await start(socket, { query: 'left', stream_id: 'left' });
  const call = await nextCall();
  await socket.emitWithAck(EVENT.detach, { stream_id: 'left' });
  await call.aborted;
}

describe('leaving', () => {
  it('cancels for every reader, keeps the text, and aborts the generation', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const [one, two] = [connect(url, ME), connect(url, ME)];
    await start(one, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    await resume(two, { stream_id: 'A', offset: 0 });
    const both = Promise.all([collect(one), collect(two)]);
    call.say('Hello');
    await next(two, EVENT.chunk);
    await two.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    for (const { text, terminal } of await both) {
      expect(text).toBe('Hello');
      expect(terminal).toMatchObject({ type: EVENT.error, code: 'cancelled', retryable: false });
    }
    await call.aborted;
    const late = collect(one);
    await resume(one, { stream_id: 'A', offset: 0 });
    expect((await late).text).toBe('Hello');
  });

  it('cancels a stream soon after its last reader has said that it left', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      limits: { detachTimeoutMs: 20, disconnectTimeoutMs: 600_000 },
    });
    const socket = connect(url);
    await start(socket, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    await socket.emitWithAck(EVENT.detach, { stream_id: 'A' });
    await call.aborted;
    const ended = collect(socket);
    await resume(socket, { stream_id: 'A', offset: 0 });
    expect((await ended).terminal).toMatchObject({ code: 'cancelled' });
  });

  it('goes on for a reader that was cut off, whatever another says when it leaves', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      limits: { detachTimeoutMs: 0, disconnectTimeoutMs: 600_000 },
    });
    const phone = connect(url, ME);
    const laptop = connect(url, ME);
    await start(phone, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    await resume(laptop, { stream_id: 'A', offset: 0 });
    phone.disconnect();
    await laptop.emitWithAck(EVENT.detach, { stream_id: 'A' });
    await leftAndCancelled(laptop, nextCall);
    call.say('Hello');
    call.finish();

    const back = connect(url, ME);
    const ended = collect(back);
    await resume(back, { stream_id: 'A', offset: 0 });
    expect(await ended).toMatchObject({ text: 'Hello', terminal: { type: EVENT.end } });
  });

  it('goes on for a reader that was cut off before another came, when that one leaves', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      limits: { detachTimeoutMs: 0, disconnectTimeoutMs: 600_000 },
    });
    const phone = connect(url, ME);
    const laptop = connect(url, ME);
    await start(phone, { query: 'q', stream_id: 'A', reader_id: 'phone' });
    const call = await nextCall();
    phone.disconnect();
    await resume(laptop, { stream_id: 'A', offset: 0, reader_id: 'laptop' });
    await laptop.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'laptop' });
    await leftAndCancelled(laptop, nextCall);
    call.say('Hello');
    call.finish();
    const ended = collect(laptop);
    await resume(laptop, { stream_id: 'A', offset: 0 });
    expect(await ended).toMatchObject({ text: 'Hello', terminal: { type: EVENT.end } });
  });

  it('does not wait for a reader that was cut off and says elsewhere that it has left', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      limits: { detachTimeoutMs: 0, disconnectTimeoutMs: 600_000 },
    });
    const before = connect(url, ME);
    await start(before, { query: 'q', stream_id: 'A', reader_id: 'tab' });
    const call = await nextCall();
    before.disconnect();
    const after = connect(url, ME);
    await after.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'another tab' });
    await leftAndCancelled(after, nextCall);
    expect((await after.emitWithAck(EVENT.list, {})).streams).toHaveLength(1);
    await after.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'tab' });
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('does not wait for a reader that was cut off, came back and then left', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, {
      limits: { detachTimeoutMs: 0, disconnectTimeoutMs: 600_000 },
    });
    const before = connect(url, ME);
    await start(before, { query: 'q', stream_id: 'A', reader_id: 'tab' });
    const call = await nextCall();
    before.disconnect();
    const after = connect(url, ME);
    await resume(after, { stream_id: 'A', offset: 0, reader_id: 'tab' });
    await after.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'tab' });
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('of a client that cannot come back ends its streams with its connection', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { limits: { disconnectTimeoutMs: 600_000 } });
    const socket = connect(url);
    await start(socket, { query: 'q' });
    const call = await nextCall();
    socket.disconnect();
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('ends nothing for a reader that left and is back within the grace', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { limits: { detachTimeoutMs: 2_000 } });
    const socket = connect(url);
    await start(socket, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    await socket.emitWithAck(EVENT.detach, { stream_id: 'A' });
    await resume(socket, { stream_id: 'A', offset: 0 });
    await leftAndCancelled(socket, nextCall);
    const ended = collect(socket);
    call.say('Hello');
    call.finish();
    expect(await ended).toMatchObject({ text: 'Hello', terminal: { type: EVENT.end } });
  });

  it('of a reader that is back counts, though its dead connection is noticed after that', async () => {
    const { provider, nextCall } = stage();
    const limits = { detachTimeoutMs: 20, disconnectTimeoutMs: 600_000 };
    const { url } = await startServer(provider, { limits });
    const dead = connect(url, ME);
    await start(dead, { query: 'q', stream_id: 'A', reader_id: 'R' });
    const call = await nextCall();
    const back = connect(url, ME);
    await resume(back, { stream_id: 'A', offset: 0, reader_id: 'R' });
    dead.disconnect();
    await vi.waitFor(() => expect(dead.connected).toBe(false));
    await back.emitWithAck(EVENT.list, {});
    await back.emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'R' });
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('on another connection counts, though the dead one is not noticed yet', async () => {
    const { provider, nextCall } = stage();
    const limits = { detachTimeoutMs: 20, disconnectTimeoutMs: 600_000 };
    const { url } = await startServer(provider, { limits });
    await start(connect(url, ME), { query: 'q', stream_id: 'A', reader_id: 'R' });
    const call = await nextCall();
    await connect(url, ME).emitWithAck(EVENT.detach, { stream_id: 'A', reader_id: 'R' });
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it('cancels an orphan when its time is over', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { limits: { disconnectTimeoutMs: 20 } });
    const socket = connect(url, ME);
    await start(socket, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    socket.disconnect();
    await expect(call.aborted).resolves.toBeUndefined();
  });
});
