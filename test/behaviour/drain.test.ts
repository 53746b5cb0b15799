import type { Answer } from '@rivulet/client';
import { EVENT } from '@rivulet/protocol';
import { describe, expect, it, vi } from 'vitest';
import { startChild } from '../harness/child.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { refused } from '../harness/refused.js';
import { startServer } from '../harness/rivulet.js';
import { cuttableLink } from '../harness/link.js';
import { recorded } from '../harness/log.js';
import { testMeter } from '../harness/meter.js';
import { sdk, snapshotWhen, statusesOf } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ME = { browser_id: 'the-browser-of-the-first-visitor' };
const OTHER = { browser_id: 'the-browser-of-someone-else' };

describe('a server that is shut down', () => {
  it('lets what runs come to its end, and takes nothing new', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const socket = connect(server.url, ME);
    const ended = collect(socket);
    const told = next(socket, EVENT.closing);
    await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    call.say('Where a river ');
    const drained = server.drain(20_000);
    expect(await told).toEqual({ type: EVENT.closing, drain_ms: expect.closeTo(20_000, -3) });
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);

    const more = await socket.emitWithAck(EVENT.start, { query: 'more' });
    expect(more.error).toMatchObject({ code: 'overloaded', retryable: true });
    expect(await refused(connect(server.url, OTHER))).toMatchObject({ code: 'overloaded' });
    // A principal with a stream in this process may reconnect to it.
    const again = connect(server.url, ME);
    const toldAgain = next<{ drain_ms: number }>(again, EVENT.closing);
    const resume = { stream_id: 'A', offset: 0 };
    expect(await again.emitWithAck(EVENT.resume, resume)).toMatchObject({ ok: true });
    expect((await toldAgain).drain_ms).toBeLessThanOrEqual(20_000);

    call.say('ends.');
    call.finish();
    expect(await ended).toMatchObject({
      text: 'Where a river ends.',
      terminal: { type: EVENT.end },
    });
    await drained;
  });

  it('ends as retryable what still runs when the time is over, with its text', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const answer = sdk(server.url).start({ query: 'q' });
    const call = await nextCall();
    call.say('Where a');
    await snapshotWhen(answer, ({ text }) => text !== '');
    await server.drain(0);
    await expect(answer.result).rejects.toMatchObject({
      code: 'interrupted',
      retryable: true,
      partialText: 'Where a',
    });
    await call.aborted;
  });

  it.each(['drain', 'close'] as const)('counts what %s() ends as interrupted', async (how) => {
    const log = recorded();
    const meter = testMeter();
    const { provider, nextCall } = stage();
    const options = { logger: log.logger, meterProvider: meter.provider };
    const server = await startServer(provider, options);
    await connect(server.url, ME).emitWithAck(EVENT.start, { query: 'q' });
    const call = await nextCall();
    call.say('Where a');
    await (how === 'drain' ? server.drain(0) : server.close());
    await call.aborted;
    await vi.waitFor(() =>
      expect(log.events.filter(({ event }) => event !== 'REQUEST_REFUSED')).toMatchObject([
        { event: 'LLM_STREAM_GENERATION_FAILED', outcome: 'interrupted' },
      ]),
    );
    const points = await meter.read();
    const outcomes = points['llm_stream_latency_ms']!.map(({ attributes }) => attributes);
    expect(outcomes).toEqual([{ outcome: 'interrupted', source: 'model' }]);
    const [duration] = points['gen_ai.client.operation.duration']!;
    expect(duration!.attributes['error.type']).toBe('interrupted');
  });

  it('leaves a reader that is behind the time to read of it', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const socket = connect(server.url, ME);
    const [text, window] = ['Where a river ends.', 2];
    let read = 0;
    socket.on(EVENT.shortChunk, (_, offset: number, piece: string) => {
      read = offset + piece.length;
      socket.emit(EVENT.ack, { stream_id: 'A', offset: read });
    });
    const ended = next(socket, EVENT.error);
    await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', window });
    (await nextCall()).say(text);
    await next(socket, EVENT.shortChunk);
    await server.drain(0);
    // Text that the server sends without an acknowledgement may still be on its way.
    expect(read).toBeGreaterThanOrEqual(text.length - window);
    await ended;
  });

  it('waits for a reader that has not read all yet', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider);
    const socket = connect(server.url, ME);
    const first = next(socket, EVENT.shortChunk);
    await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', window: 5 });
    const call = await nextCall();
    call.say('Where a river');
    call.finish();
    await first;
    let isDrained = false;
    const drained = server.drain(20_000).then(() => (isDrained = true));
    await socket.emitWithAck(EVENT.list, {});
    expect(isDrained).toBe(false);
    for (const offset of [5, 10]) {
      const chunk = next(socket, EVENT.shortChunk);
      socket.emit(EVENT.ack, { stream_id: 'A', offset });
      await chunk;
    }
    socket.emit(EVENT.ack, { stream_id: 'A', offset: 14 });
    await drained;
  });

  /** A client that reads an answer of a server that is then shut down, and another server for new questions. */
  async function leftBehind() {
    const old = stage();
    const fresh = stage();
    const server = await startServer(old.provider);
    const other = await startServer(fresh.provider);
    const link = await cuttableLink(server.url);
    const client = sdk(link.url);
    const running = client.start({ query: 'running' });
    const call = await old.nextCall();
    call.say('Where ');
    await snapshotWhen(running, ({ text }) => text === 'Where ');
    const drained = server.drain(20_000);
    link.leadTo(other.url);
    return { server, client, running, call, old, fresh, drained };
  }

  it('hands its readers on: the client finishes here, and asks what is new elsewhere', async () => {
    const { server, client, running, call, old, fresh, drained } = await leftBehind();
    await vi.waitFor(async () => {
      expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
    });
    // Said before the notice may have been read: both ways lead to the other server.
    const asked = client.start({ query: 'asked now' });
    call.say('a river ends.');
    call.finish();
    expect(await running.result).toMatchObject({ text: 'Where a river ends.' });
    const second = await fresh.nextCall();
    second.say('It ends.');
    second.finish();
    expect(await asked.result).toMatchObject({ text: 'It ends.' });
    await drained;
    expect(old.calls).toHaveLength(1);
  });

  it('does not close a client that asks while its last answer here ends', async () => {
    const { client, running, call, fresh, drained } = await leftBehind();
    const statuses = statusesOf(client);
    call.say('a river ');
    await snapshotWhen(running, ({ text }) => text === 'Where a river ');
    const asked = new Promise<Answer>((resolve) => {
      running.state$.subscribe(({ status }) => {
        if (status === 'done') resolve(client.start({ query: 'asked now' }));
      });
    });
    call.finish();
    const answer = await asked;
    const second = await fresh.nextCall();
    second.say('It ends.');
    second.finish();
    expect(await answer.result).toMatchObject({ text: 'It ends.' });
    expect(statuses).not.toContain('closed');
    await drained;
  });

  it('does not get the acknowledgements and cancels of questions that another server answers', async () => {
    const { client, running, call, fresh, drained } = await leftBehind();
    // They are sent before the notice has arrived, and refused.
    const asked = Array.from({ length: 3 }, (_, i) => client.start({ query: `${i}` }));
    const text = 'x'.repeat(50_000);
    const calls = [await fresh.nextCall(), await fresh.nextCall(), await fresh.nextCall()];
    for (const other of calls) other.say(text);
    for (const answer of asked)
      await snapshotWhen(answer, (snapshot) => snapshot.text.length === text.length);
    for (const answer of asked) answer.cancel();
    await Promise.all(calls.map(({ aborted }) => aborted));
    call.finish();
    expect(await running.result).toMatchObject({ text: 'Where ' });
    await drained;
  });

  it('is of no use to a client that was closed meanwhile', async () => {
    const { provider, nextCall, calls } = stage();
    const server = await startServer(provider);
    const client = sdk(server.url);
    const answer = client.start({ query: 'q' });
    (await nextCall()).say('Where a');
    await snapshotWhen(answer, ({ text }) => text !== '');
    const drained = server.drain(200);
    await fetch(`${server.url}/readyz`);
    client.close();
    expect(await client.start({ query: 'p' }).result).toMatchObject({ status: 'cancelled' });
    expect(calls).toHaveLength(1);
    await drained;
  });

  it('as a process ends with 0 on SIGTERM, after the answer that was under way', async () => {
    const child = await startChild(
      process.execPath,
      ['--conditions=@rivulet/source', '--import', 'tsx', 'packages/server/src/cli.ts'],
      { env: { PORT: '0', LLM_MODE: 'docs' }, ready: /^rivulet: (\S+)/ },
    );
    const socket = connect(child.match[1]!);
    const ended = collect(socket);
    const begun = next(socket, EVENT.chunk);
    socket.emit(EVENT.start, { query: 'What is an offset?' });
    await begun;
    expect(await child.stop('SIGTERM')).toBe(0);
    const { text, terminal } = await ended;
    expect(terminal).toMatchObject({ type: EVENT.end, total_length: text.length });
  });
});
