import { EVENT, LIMITS, type StreamReplyMessage } from '@rivulet/protocol';
import { describe, expect, it, vi } from 'vitest';
import { attachedServer } from '../harness/attached.js';
import { collect, connect, next } from '../harness/plain-client.js';
import { refused } from '../harness/refused.js';
import { startServer } from '../harness/rivulet.js';
import { cuttableLink } from '../harness/link.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';

const ME = { browser_id: 'the-browser-of-the-first-visitor' };
const start = (stream_id: string) => ({ type: EVENT.start, query: stream_id, stream_id });

describe('a handshake', () => {
  it('asks, and reads on, in one: each has its reply, in order, before its messages', async () => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider);
    const before = connect(url, ME);
    await before.emitWithAck(EVENT.start, start('A'));
    const call = await nextCall();
    const chunk = next(before, EVENT.chunk);
    call.say('Where a river ends.');
    await chunk;

    const resume = { type: EVENT.resume, stream_id: 'A', offset: 7, window: 1000 };
    const foreign = { type: EVENT.resume, stream_id: 'Z', offset: 0 };
    const wrong = { type: EVENT.start, query: ' ', stream_id: 'W' };
    const socket = connect(url, { ...ME, requests: [resume, foreign, wrong, 7, start('B')] });
    const heard: [event: string, ...rest: unknown[]][] = [];
    socket.onAny((event: string, ...rest: unknown[]) => heard.push([event, ...rest]));
    const ended = collect(socket);
    const other = await nextCall();
    other.say('B');
    other.finish();
    await ended;
    const replies = heard.filter(([event]) => event === EVENT.reply);
    expect(replies.map(([, message]) => message)).toEqual([
      opened('A', {
        ok: true,
        stream_id: 'A',
        status: 'streaming',
        epoch: expect.any(String),
        request_id: expect.any(String),
        attempt: 1,
        ref: 1,
      }),
      opened('Z', { ok: false, error: expect.objectContaining({ code: 'not_found' }) }),
      opened('W', { ok: false, error: expect.objectContaining({ code: 'bad_request' }) }),
      opened(undefined, { ok: false, error: expect.objectContaining({ code: 'bad_request' }) }),
      opened('B', {
        ok: true,
        stream_id: 'B',
        status: 'waiting',
        epoch: expect.any(String),
        request_id: expect.any(String),
        attempt: 0,
      }),
    ]);
    const text = heard.findIndex(([event]) => event === EVENT.shortChunk);
    expect(heard[text]).toEqual([EVENT.shortChunk, 1, 7, 'a river ends.']);
    expect(heard.indexOf(replies[0]!)).toBeLessThan(text);
  });

  it('is counted like any other request', async () => {
    const { url } = await startServer(stage().provider, { env: { RATE_LIMIT_REQUESTS: '1' } });
    const socket = connect(url, { ...ME, requests: [start('A'), start('B'), start('A')] });
    const replies: StreamReplyMessage[] = [];
    await new Promise<void>((resolve) => {
      socket.on(EVENT.reply, (message) => replies.push(message) === 3 && resolve());
    });
    expect(replies.map(({ reply }) => (reply.ok ? 'ok' : reply.error.code))).toEqual([
      'ok',
      'rate_limited',
      'ok',
    ]);
  });

  it.each([
    ['more requests than it may', Array(LIMITS.handshakeRequests + 1).fill(start('A'))],
    ['what is no list', 'A'],
  ])('is refused with %s', async (_, requests) => {
    const { url } = await startServer(stage().provider);
    expect(await refused(connect(url, { ...ME, requests: requests as never }))).toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining('`requests`'),
    });
  });
});

describe('the client', () => {
  it('asks and reads on in the handshake, and sends no message of its own for either', async () => {
    const { provider, nextCall } = stage();
    const { url, io } = await attachedServer(provider);
    const sent: string[] = [];
    io.on('connection', (socket) => socket.onAny((event: string) => sent.push(event)));
    const link = await cuttableLink(url);
    const client = sdk(link.url);
    const first = client.start({ query: 'first' });
    const second = client.start({ query: 'second' });
    (await nextCall()).say('one');
    (await nextCall()).say('two');
    await snapshotWhen(first, ({ text }) => text === 'one');
    await snapshotWhen(second, ({ text }) => text === 'two');
    link.cut();
    await snapshotWhen(first, ({ status }) => status === 'reconnecting');
    await snapshotWhen(first, ({ status }) => status === 'streaming');
    await snapshotWhen(second, ({ status }) => status === 'streaming');
    first.cancel();
    await vi.waitFor(() => expect(sent).toEqual([EVENT.cancel]));
  });

  it.each([
    ['seventy short questions', 70, 10],
    ['more than a message may hold', 25, 50_000],
  ])(
    'asks in the handshake what there is room for, and the rest right after: %s',
    async (_, count, units) => {
      const { provider, nextCall } = stage();
      const server = await startServer(provider, {
        env: { RATE_LIMIT_REQUESTS: '100' },
        limits: { maxStreamsPerPrincipal: 100 },
      });
      const client = sdk(server.url);
      const long = { role: 'user', content: 'x'.repeat(units) } as const;
      const answers = Array.from({ length: count }, (_unused, i) =>
        client.start({ query: `${i}`, context: [long] }),
      );
      for (let i = 0; i < count; i++) {
        const call = await nextCall();
        call.say('It ends.');
        call.finish();
      }
      for (const { result } of answers) expect(await result).toMatchObject({ text: 'It ends.' });
    },
  );
});

function opened(stream_id: string | undefined, reply: object): object {
  return { type: EVENT.reply, ...(stream_id !== undefined && { stream_id }), reply };
}
