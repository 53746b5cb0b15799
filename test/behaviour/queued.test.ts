import type { NewsEntry } from '../../packages/server/src/entry.js';
import {
  EVENT,
  type StreamErrorMessage,
  type StreamListReply,
  type LogMessage,
  type StreamQueuedMessage,
} from '@rivulet/protocol';
import { ProviderError, resolveSettings } from '@rivulet/server';
import { firstValueFrom, toArray } from 'rxjs';
import type { Socket } from 'socket.io-client';
import { describe, expect, it, vi } from 'vitest';
import { StreamRegistry } from '../../packages/server/src/deliver/stream-registry.js';
import type { LogSlice } from '../../packages/server/src/deliver/log.js';
import { queryOf } from '../harness/ask.js';
import { settled } from '../harness/clock.js';
import { cuttableLink } from '../harness/link.js';
import { connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { providerConfigOf, providersOf } from '../harness/providers.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { type Call, stage } from '../harness/stage.js';
import { generateFrom } from '../harness/generate.js';

const ME = { browser_id: 'the-browser-of-the-first-visitor' };
const OTHER = { browser_id: 'the-browser-of-somebody-else' };

/** A server whose model answers one at a time. */
async function oneAtATime() {
  const { provider, nextCall } = stage('model');
  const { url } = await startServer(provider, {
    providers: [providerConfigOf(provider, { concurrency: 1 })],
  });
  return { url, nextCall };
}

const start = (socket: Socket, id: string, more: object = {}) =>
  socket.emitWithAck(EVENT.start, { query: id, stream_id: id, ...more });
const place = (socket: Socket, id: string): Promise<StreamQueuedMessage> =>
  next(socket, EVENT.queued, ({ stream_id }) => stream_id === id);

/**
 * The messages of a stream that a socket receives, in order: the place in the queue, or the type of message.
 */
function heard(socket: Socket, id: string): (number | string)[] {
  const messages: (number | string)[] = [];
  for (const event of [EVENT.queued, EVENT.start, EVENT.chunk, EVENT.end, EVENT.error]) {
    socket.on(event, (message: LogMessage | StreamQueuedMessage) => {
      if (message.stream_id !== id) return;
      messages.push(message.type === EVENT.queued ? message.ahead : message.type);
    });
  }
  return messages;
}

describe('a stream that waits', () => {
  it('tells its reader the place, each time it changes, and takes no offset for it', async () => {
    const { url, nextCall } = await oneAtATime();
    const socket = connect(url, ME);
    const messages = heard(socket, 'C');
    await start(socket, 'A');
    await start(socket, 'B');
    const first = place(socket, 'C');
    await start(socket, 'C', { session_id: 's', window: 1_000 });
    expect(await first).toEqual({
      type: EVENT.queued,
      stream_id: 'C',
      session_id: 's',
      ahead: 2,
    });
    const begun = next<{ offset: number }>(socket, EVENT.start, () =>
      messages.includes(EVENT.start),
    );
    const moved = place(socket, 'C');
    (await nextCall()).finish();
    await moved;
    const turn = place(socket, 'C');
    (await nextCall()).finish();
    await turn;
    const call = await nextCall();
    call.say('At last.');
    expect((await begun).offset).toBe(0);
    const end = next(socket, EVENT.end);
    call.finish();
    await end;
    expect(messages).toEqual([2, 1, 0, EVENT.start, EVENT.end]);
  });

  it('is behind one of the thirty questions that another browser asked before', async () => {
    const { url, nextCall } = await oneAtATime();
    const [many, one] = [connect(url, ME), connect(url, OTHER)];
    const told = place(many, 'A29');
    for (let i = 0; i < 30; i++) await start(many, `A${i}`);
    expect((await told).ahead).toBe(29);
    const first = place(one, 'B');
    const pushedBack = place(many, 'A29');
    await start(one, 'B');
    expect((await first).ahead).toBe(1);
    expect((await pushedBack).ahead).toBe(30);
    const turn = place(one, 'B');
    (await nextCall()).finish();
    expect((await turn).ahead).toBe(0);
    expect(queryOf(await nextCall())).toBe('B');
  });

  it('tells every reader, and one that attaches meanwhile at once', async () => {
    const { url } = await oneAtATime();
    const [one, two] = [connect(url, ME), connect(url, ME)];
    await start(one, 'A');
    const told = place(one, 'B');
    await start(one, 'B');
    await told;
    const late = place(two, 'B');
    await two.emitWithAck(EVENT.resume, { stream_id: 'B', offset: 0, window: 1_000 });
    expect((await late).ahead).toBe(1);
    const both = Promise.all([place(one, 'B'), place(two, 'B')]);
    await one.emitWithAck(EVENT.cancel, { stream_id: 'A' });
    expect((await both).map(({ ahead }) => ahead)).toEqual([0, 0]);
  });

  it('tells one that attaches later nothing of a wait that is over', async () => {
    const { url, nextCall } = await oneAtATime();
    const socket = connect(url, ME);
    await start(socket, 'A');
    const told = place(socket, 'B');
    await start(socket, 'B');
    await told;
    (await nextCall()).finish();
    const call = await nextCall();
    call.say('Hello');
    await next(socket, EVENT.chunk);
    const late = connect(url, ME);
    const messages = heard(late, 'B');
    const chunk = next(late, EVENT.chunk);
    await late.emitWithAck(EVENT.resume, { stream_id: 'B', offset: 0 });
    await chunk;
    expect(messages).toEqual([EVENT.start, EVENT.chunk]);
  });

  it('is `queued` in the list, and `waiting` once it is its turn', async () => {
    const { url, nextCall } = await oneAtATime();
    const socket = connect(url, ME);
    await start(socket, 'A');
    const told = place(socket, 'B');
    await start(socket, 'B');
    await told;
    const list = async () => {
      const { streams } = (await socket.emitWithAck(EVENT.list, {})) as StreamListReply;
      return streams.map(({ stream_id, status }) => [stream_id, status]);
    };
    expect(await list()).toEqual([
      ['A', 'waiting'],
      ['B', 'queued'],
    ]);
    const turn = place(socket, 'B');
    (await nextCall()).finish();
    await turn;
    expect(await list()).toEqual([['B', 'waiting']]);
  });

  it('has it over with its next entry, and may wait again at the same place', async () => {
    const turns: (() => void)[] = [];
    const turn = () => new Promise<void>((resolve) => turns.push(resolve));
    const streams = new StreamRegistry(
      generateFrom(async function* () {
        yield { type: 'queued', ahead: 1 };
        await turn();
        yield { type: 'text', text: 'Lon' };
        await turn();
        yield { type: 'queued', ahead: 1 };
        await turn();
      }),
      resolveSettings({ env: {} }).limits,
    );
    const identity = { principal: 'me', id: 'A', sessionId: undefined, query: 'q' };
    const stream = streams.start(identity, { query: 'q' });
    const sent: (number | string)[] = [];
    const send = ({ entry }: LogSlice): void => void sent.push(entry.type);
    const sink = {
      writable: () => true,
      send,
      sendNews: (news: NewsEntry) => void sent.push(news.type === 'queued' ? news.ahead : NaN),
      drop() {},
      forget() {},
    };
    stream.read({ offset: 0, window: undefined, readerId: undefined }, sink);
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) {
      await settled();
      seen.push(stream.status);
      turns.shift()?.();
    }
    expect(seen).toEqual(['queued', 'streaming', 'queued']);
    expect(sent.slice(0, 3)).toEqual([1, 'text', 1]);
    streams.close();
  });

  it('frees its place when it is cancelled, and when its last reader has left', async () => {
    const { provider, nextCall } = stage('model');
    const { url, llm } = await startServer(provider, {
      providers: [providerConfigOf(provider, { concurrency: 1 })],
      limits: { detachTimeoutMs: 0 },
    });
    const socket = connect(url, ME);
    await start(socket, 'A');
    await nextCall();
    await start(socket, 'B');
    await start(socket, 'C');
    const told = place(socket, 'D');
    await start(socket, 'D');
    expect((await told).ahead).toBe(3);
    const moved = place(socket, 'D');
    await socket.emitWithAck(EVENT.cancel, { stream_id: 'B' });
    expect((await moved).ahead).toBe(2);
    await vi.waitFor(() =>
      expect(llm.providerStatus()).toMatchObject([{ running: 1, waiting: 2 }]),
    );
    const again = place(socket, 'D');
    await socket.emitWithAck(EVENT.detach, { stream_id: 'C' });
    expect((await again).ahead).toBe(1);
  });
});

describe('a server', () => {
  it('takes LLM_MAX_QUEUED that wait, and ends one more as `overloaded` with a time', async () => {
    const { provider } = stage('model');
    const { url } = await startServer(provider, {
      providers: [providerConfigOf(provider, { concurrency: 1 })],
      env: { LLM_MAX_QUEUED: '1' },
    });
    const socket = connect(url, ME);
    await start(socket, 'A');
    const told = place(socket, 'B');
    await start(socket, 'B');
    await told;
    const refused = next<StreamErrorMessage>(socket, EVENT.error);
    expect((await start(socket, 'C')).ok).toBe(true);
    expect(await refused).toMatchObject({
      stream_id: 'C',
      code: 'overloaded',
      retryable: true,
      retry_after_ms: expect.any(Number),
    });
  });

  it('ends an answer that breaks off with LLM_ON_MIDSTREAM_FAILURE=fail', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const { url } = await startServer(api.provider, {
      providers: providersOf(api.provider, local.provider),
      env: { LLM_ON_MIDSTREAM_FAILURE: 'fail' },
    });
    const answer = sdk(url).start({ query: 'q' });
    const call = await api.nextCall();
    call.say('Lon');
    call.fail(new ProviderError('truncated', 'unable to finish'));
    expect(await snapshotWhen(answer, ({ status }) => status === 'failed')).toMatchObject({
      text: 'Lon',
      error: { code: 'truncated', partialText: 'Lon' },
    });
  });
});

function answerOne(call: Call): void {
  call.say('Yes.');
  call.finish();
}

describe('an answer that waits', () => {
  it('is `queued` with how many are ahead, then `waiting`, then as ever', async () => {
    const { url, nextCall } = await oneAtATime();
    const client = sdk(url);
    const [a, b] = [client.start({ query: 'a' }), client.start({ query: 'b' })];
    const c = client.start({ query: 'c' });
    const states = firstValueFrom(c.state$.pipe(toArray()));
    const events = firstValueFrom(c.events$.pipe(toArray()));
    await snapshotWhen(c, ({ ahead }) => ahead === 2);
    answerOne(await nextCall());
    await snapshotWhen(c, ({ ahead }) => ahead === 1);
    answerOne(await nextCall());
    const call = await nextCall();
    await snapshotWhen(c, ({ status }) => status === 'waiting');
    call.say('At last.');
    call.finish();
    expect(await c.result).toMatchObject({ status: 'done', ahead: undefined, text: 'At last.' });
    expect((await states).map(({ status, ahead }) => [status, ahead])).toEqual(
      expect.arrayContaining([
        ['queued', 2],
        ['queued', 1],
        ['waiting', undefined],
        ['done', undefined],
      ]),
    );
    expect(await events).toMatchObject([
      { type: 'queued', ahead: 2 },
      { type: 'queued', ahead: 1 },
      { type: 'queued', ahead: 0 },
      { type: 'start' },
      { type: 'text', text: 'At last.' },
      { type: 'end' },
    ]);
    await Promise.all([a.result, b.result]);
  });

  it('knows its place again after a cut connection', async () => {
    const { url, nextCall } = await oneAtATime();
    const link = await cuttableLink(url);
    sdk(url).start({ query: 'a' });
    await nextCall();
    const client = sdk(link.url);
    const answer = client.start({ query: 'b' });
    await snapshotWhen(answer, ({ status }) => status === 'queued');
    link.cut();
    const away = await snapshotWhen(answer, ({ status }) => status === 'reconnecting');
    expect(away.ahead).toBeUndefined();
    expect(await snapshotWhen(answer, ({ status }) => status === 'queued')).toMatchObject({
      ahead: 1,
    });
  });

  it('is `waiting` when its turn came while the connection was away', async () => {
    const { url, nextCall } = await oneAtATime();
    const link = await cuttableLink(url);
    sdk(url).start({ query: 'a' });
    const first = await nextCall();
    const answer = sdk(link.url).start({ query: 'b' });
    await snapshotWhen(answer, ({ status }) => status === 'queued');
    link.down();
    await snapshotWhen(answer, ({ status }) => status === 'reconnecting');
    first.finish();
    await nextCall();
    link.up();
    const back = await snapshotWhen(answer, ({ status }) => status !== 'reconnecting');
    expect(back.status).toBe('waiting');
  });

  it('keeps the text of an attempt that broke off while it waits for the next', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const { url } = await startServer(api.provider, {
      providers: [
        providerConfigOf(api.provider),
        providerConfigOf(local.provider, { concurrency: 1 }),
      ],
    });
    const client = sdk(url);
    const other = client.start({ query: 'other' });
    (await api.nextCall()).fail(new ProviderError('unavailable', 'unable to reach api'));
    const busy = await local.nextCall();
    const answer = client.start({ query: 'q' });
    const call = await api.nextCall();
    call.say('Lon');
    await snapshotWhen(answer, (s) => s.text === 'Lon');
    call.fail(new ProviderError('truncated', 'unable to finish'));
    expect(await snapshotWhen(answer, ({ status }) => status === 'queued')).toMatchObject({
      ahead: 1,
      text: 'Lon',
    });
    busy.say('Yes.');
    busy.finish();
    const second = await local.nextCall();
    second.say('Paris.');
    second.finish();
    expect(await answer.result).toMatchObject({ text: 'Paris.', attempt: 2, ahead: undefined });
    await other.result;
  });
});
