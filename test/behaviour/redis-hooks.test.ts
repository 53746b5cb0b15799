import { EVENT } from '@rivulet/protocol';
import type { EndedStream, OnEnd, Prepare, ServerOptions } from '@rivulet/server';
import { describe, expect, it } from 'vitest';
import { cluster } from '../harness/cluster/servers.js';
import { type Deferred, deferred } from '../harness/deferred.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';

const ME = { browserId: 'the-browser-of-the-first-visitor' };
const AUTH = { browser_id: ME.browserId };
const WINDOW = { window: 10_000 };

describe('streams that prepare has prepared alike in several processes', () => {
  /** Two servers; `open()` lets the question with this stream id through. */
  async function preparing(system: (streamId: string) => string = () => 'Answer.') {
    const gates = new Map<string, Deferred<void>>();
    const gateOf = (id: string) => {
      const gate = gates.get(id) ?? deferred();
      gates.set(id, gate);
      return gate;
    };
    const prepare: Prepare = async ({ streamId }) => {
      await gateOf(streamId).promise;
      return { system: system(streamId) };
    };
    return { ...(await cluster({ prepare })), open: (id: string) => gateOf(id).resolve() };
  }

  it('share one generation, also for a reader that came before prepare had returned', async () => {
    const { a, b, open } = await preparing();
    const first = connect(a.url, AUTH);
    await first.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', ...WINDOW });
    open('A');
    const call = await a.nextCall();
    call.say('Where a ');
    await next(first, EVENT.shortChunk);
    const second = connect(b.url, AUTH);
    await second.emitWithAck(EVENT.start, { query: 'q', stream_id: 'B', ...WINDOW });
    const early = connect(a.url, AUTH);
    await early.emitWithAck(EVENT.resume, { stream_id: 'B', offset: 0, ...WINDOW });
    const text = next(early, EVENT.shortChunk);
    open('B');
    await text;
    const ended = next(early, EVENT.end);
    const late = sdk(b.url, ME).resume('B');
    call.say('river ends.');
    call.finish();
    const done = { status: 'done', text: 'Where a river ends.', attempt: 1 };
    expect(await ended).toMatchObject({ total_length: done.text.length });
    expect(await late.result).toMatchObject(done);
    expect(await sdk(b.url, ME).resume('A').result).toMatchObject(done);
    expect(b.calls).toHaveLength(0);
  });

  it('are cancelled separately', async () => {
    const { a, b, open } = await preparing();
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    const ends = [collect(one), collect(two)];
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    open('A');
    const call = await a.nextCall();
    await two.emitWithAck(EVENT.start, { query: 'q', stream_id: 'B' });
    open('B');
    call.say('x');
    await next(two, EVENT.chunk);
    await one.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    expect((await ends[0])?.terminal).toMatchObject({ code: 'cancelled' });
    await two.emitWithAck(EVENT.cancel, { stream_id: 'B' });
    expect((await ends[1])?.terminal).toMatchObject({ code: 'cancelled' });
    await call.aborted;
  });

  it('have generations of their own where it prepared them differently', async () => {
    const { a, b, open } = await preparing((id) => `You answer ${id}.`);
    open('A');
    await connect(a.url, AUTH).emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const call = await a.nextCall();
    open('B');
    await connect(b.url, AUTH).emitWithAck(EVENT.start, { query: 'q', stream_id: 'B' });
    const other = await b.nextCall();
    expect(other.prompt.system).not.toBe(call.prompt.system);
  });
});

describe('onEnd', () => {
  /** Two servers with the same hook, as an application has it. */
  async function reporting(options: ServerOptions = {}) {
    const ends: EndedStream[] = [];
    const onEnd: OnEnd = (ended) => void ends.push(ended);
    return { ends, ...(await cluster({ onEnd, ...options })) };
  }
  const outcomes = (ends: readonly EndedStream[]) =>
    ends.map(({ streamId, outcome, text }) => [streamId, outcome, text]);

  it('is called once for each of the streams of several processes that share a generation', async () => {
    const { a, b, ends } = await reporting();
    const [one, two] = [connect(a.url, AUTH), connect(b.url, AUTH)];
    const collected = [collect(one), collect(two)];
    await one.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', options: {} });
    const call = await a.nextCall();
    await two.emitWithAck(EVENT.start, { query: 'q', stream_id: 'B', options: {} });
    call.say('Where ');
    await Promise.all([next(one, EVENT.chunk), next(two, EVENT.chunk)]);
    await two.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    await collected[0];
    call.say('to?');
    call.finish();
    await collected[1];
    await a.server.drain(1_000);
    await b.server.drain(1_000);
    expect(outcomes(ends)).toEqual([
      ['A', 'cancelled', 'Where '],
      ['B', 'stop', 'Where to?'],
    ]);
  });

  it('is called once for a stream that another process has taken over', async () => {
    const { a, b, ends } = await reporting();
    const first = connect(a.url, AUTH);
    await first.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A', ...WINDOW });
    (await a.nextCall()).say('Where a ');
    const second = sdk(b.url, ME).resume('A');
    await snapshotWhen(second, ({ text }) => text === 'Where a ');
    const drained = a.server.drain(0);
    const again = await b.nextCall();
    again.say('Rivers end.');
    again.finish();
    expect(await second.result).toMatchObject({ text: 'Rivers end.', attempt: 101 });
    await drained;
    // Resolves once the process knows that the stream has ended.
    await Promise.all([a.server.drain(5_000), b.server.drain(5_000)]);
    expect(outcomes(ends)).toEqual([['A', 'stop', 'Rivers end.']]);
  });
});
