import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { promisify } from 'node:util';
import { EVENT, LIMITS } from '@rivulet/protocol';
import type { Socket } from 'socket.io-client';
import { describe, expect, it, vi } from 'vitest';
import { collect, connect, next } from '../harness/plain-client.js';
import { startServer, type TestServer } from '../harness/rivulet.js';
import { type Call, stage } from '../harness/stage.js';

/** A server with one stream under way, which nothing that others send may touch. */
async function busyServer(
  options: Parameters<typeof startServer>[1] = {},
): Promise<{ server: TestServer; stillFine: () => Promise<void> }> {
  const { provider, nextCall } = stage();
  const server = await startServer(provider, options);
  const reader = connect(server.url);
  await reader.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
  const call: Call = await nextCall();
  call.say('before, ');
  await next(reader, EVENT.chunk);
  return {
    server,
    async stillFine() {
      const ended = collect(reader);
      call.say('after');
      call.finish();
      expect(await ended).toMatchObject({ text: 'after', terminal: { type: EVENT.end } });
    },
  };
}

const proto = JSON.parse(
  '{"query":"q","__proto__":{"admin":true},"options":{"__proto__":{"x":1}}}',
);

/** A masked text frame, as a browser sends it. */
function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  const mask = Buffer.alloc(4);
  const long = payload.length > 125;
  const head = Buffer.from([0x81, 0x80 | (long ? 126 : payload.length)]);
  const size = Buffer.alloc(long ? 2 : 0);
  if (long) size.writeUInt16BE(payload.length);
  return Buffer.concat([head, size, mask, payload]);
}

const MALFORMED: [string, string, unknown][] = [
  ['no body', EVENT.start, undefined],
  ['null', EVENT.start, null],
  ['a string', EVENT.start, 'hello'],
  ['an array', EVENT.start, [{ query: 'q' }]],
  ['no query', EVENT.start, { session_id: 's' }],
  ['a query of the wrong type', EVENT.start, { query: 7 }],
  ['a blank query', EVENT.start, { query: ' \n ' }],
  ['a query past the limit', EVENT.start, { query: 'x'.repeat(LIMITS.queryUnits + 1) }],
  ['the type of another event', EVENT.start, { type: EVENT.cancel, query: 'q' }],
  ['a context that is no list', EVENT.start, { query: 'q', context: { role: 'user' } }],
  [
    'a role that there is not',
    EVENT.start,
    { query: 'q', context: [{ role: 'system', content: '' }] },
  ],
  [
    'a context past the limit',
    EVENT.start,
    { query: 'q', context: [{ role: 'user', content: 'x'.repeat(LIMITS.contextUnits + 1) }] },
  ],
  ['a temperature out of range', EVENT.start, { query: 'q', options: { temperature: 9 } }],
  ['a window of nothing', EVENT.start, { query: 'q', window: 0 }],
  ['a stream id past the limit', EVENT.start, { query: 'q', stream_id: 'x'.repeat(129) }],
  ['a binary body', EVENT.start, Buffer.from('{"query":"q"}')],
  ['a binary query', EVENT.start, { query: Buffer.from('q') }],
  ['a negative offset', EVENT.resume, { stream_id: 'A', offset: -1 }],
  ['an offset that is no number', EVENT.resume, { stream_id: 'A', offset: '1' }],
  ['no stream id', EVENT.cancel, {}],
];

/** Each as the name of a session, and whether it may be one. */
const NAMES: [string, string, boolean][] = [
  ['a line feed', 'a\nb', false],
  ['a carriage return', 'a\rb', false],
  ['NUL', 'a\0b', false],
  ['an escape sequence', '\u001b[31mred', false],
  ['a C1 control character', 'a\u0085b', false],
  ['a line separator', 'a\u2028b', false],
  ['a paragraph separator', 'a\u2029b', false],
  ['half of a surrogate pair', 'a\ud83d', false],
  ['an override of the text’s direction', 'a\u202etxt.exe', false],
  ['an isolate of the text’s direction', 'a\u2067b', false],
  ['a zero-width space', 'a\u200bb', false],
  ['a byte order mark', '\ufeffa', false],
  ['tag characters', 'a\u{e0061}\u{e0062}', false],
  ['nothing', '', false],
  ['129 characters', 'x'.repeat(129), false],
  ['128 characters', 'x'.repeat(128), true],
  ['an emoji', '🚀', true],
  ['an emoji of several, joined', '👩‍👩‍👧‍👦', true],
  ['an emoji with a variation selector', '❤️', true],
  ['the flag of a country', '🇫🇷', true],
  ['Persian with a non-joiner', 'می‌خواهم', true],
  ['Hindi', 'क्‍ष', true],
  ['a character that Unicode has not assigned yet', '\u{1faff}', true],
];

describe('an id', () => {
  it.each(NAMES)(
    'of %s is taken only if it cannot forge or hide text',
    async (_, id, isAllowed) => {
      const { url } = await startServer(stage().provider);
      const socket = connect(url);
      for (const name of ['session_id', 'reader_id', 'stream_id']) {
        const reply = await socket.emitWithAck(EVENT.start, { query: name, [name]: id });
        expect([name, reply.ok, reply.error?.code]).toEqual([
          name,
          isAllowed,
          isAllowed ? undefined : 'bad_request',
        ]);
      }
    },
  );

  it('of a browser that is not printable names no principal', async () => {
    const { url } = await startServer(stage().provider);
    const auth = { browser_id: 'the-browser-of\u2028the-visitor' };
    await connect(url, auth).emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const again = await connect(url, auth).emitWithAck(EVENT.list, {});
    expect(again).toEqual({ ok: true, streams: [] });
  });
});

describe('a malformed message', () => {
  it('with long keys is refused in a few words', async () => {
    const { server, stillFine } = await busyServer();
    const key = '😀'.repeat(100_000);
    const intent = { name: 'i', parameters: { [key]: {} } };
    const { error } = await connect(server.url).emitWithAck(EVENT.start, { query: 'q', intent });
    expect(error).toMatchObject({ code: 'bad_request' });
    expect(error.message).toContain('`intent.parameters.😀');
    expect(error.message.length).toBeLessThan(400);
    expect(error.message).not.toMatch(/[\ud800-\udbff](?![\udc00-\udfff])/);
    await stillFine();
  });

  it.each(MALFORMED)('with %s is refused as `bad_request`', async (_, event, body) => {
    const { server, stillFine } = await busyServer();
    const reply = await connect(server.url).emitWithAck(event, body);
    expect(reply).toMatchObject({ ok: false, error: { code: 'bad_request', retryable: false } });
    expect(reply.error.message).toMatch(/^unable to .+: /);
    await stillFine();
  });

  it('names the field that is wrong, and never repeats what it held', async () => {
    const { server } = await busyServer();
    const { error } = await connect(server.url).emitWithAck(EVENT.start, {
      query: 'q',
      options: { temperature: 'a secret' },
    });
    expect(error.message).toContain('`options.temperature`');
    expect(error.message).not.toContain('secret');
  });

  it('is refused as `stream_error` with its session id to a client that asked for no reply', async () => {
    const { server } = await busyServer();
    const socket = connect(server.url);
    const refused = next(socket, EVENT.error);
    socket.emit(EVENT.start, { type: EVENT.start, session_id: 'session_123' });
    expect(await refused).toMatchObject({
      type: EVENT.error,
      code: 'bad_request',
      session_id: 'session_123',
    });
  });
});

describe('a hostile message', () => {
  async function isServed(socket: Socket): Promise<void> {
    expect((await socket.emitWithAck(EVENT.list, {})).ok).toBe(true);
  }

  it('with a `__proto__` of its own changes nobody’s prototype', async () => {
    const { server, stillFine } = await busyServer();
    const reply = await connect(server.url).emitWithAck(EVENT.start, proto);
    expect(reply.ok).toBe(true);
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
    await stillFine();
  });

  const LONG_ID = 'x'.repeat(128);
  it.each([
    ['replies', `421${JSON.stringify([EVENT.list, {}])}`],
    ['errors', `42${JSON.stringify([EVENT.start, { stream_id: LONG_ID, session_id: LONG_ID }])}`],
  ])('for which nobody reads the %s costs its sender the connection', async (_what, packet) => {
    const limits = { maxMessagesPerSecond: 1_000_000, maxBytesPerSecond: 2 ** 30 };
    const { server, stillFine } = await busyServer({ limits });
    const deaf = connectTcp(Number(new URL(server.url).port), '127.0.0.1');
    deaf.on('error', () => {});
    const connections = promisify(server.http.getConnections.bind(server.http));
    deaf.write(
      'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n' +
        'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
    await once(deaf, 'data');
    deaf.write(textFrame('40'));
    await once(deaf, 'data');
    deaf.pause();
    const longQuery = 'x'.repeat(30_000);
    for (let i = 0; i < 60; i++) {
      deaf.write(textFrame(`42${JSON.stringify([EVENT.start, { query: longQuery }])}`));
    }
    const frame = textFrame(packet);
    for (let i = 0; i < 60_000; i++) deaf.write(frame);
    // The reader's is the one that is left.
    await vi.waitFor(async () => expect(await connections()).toBe(1), { timeout: 20_000 });
    deaf.destroy();
    await stillFine();
  });

  it('of an unknown name is dropped', async () => {
    const { server, stillFine } = await busyServer();
    const socket = connect(server.url);
    socket.emit('stream_destroy', { query: 'q' });
    socket.emit('constructor', {});
    await isServed(socket);
    await stillFine();
  });

  it('of 10 MB costs its sender the connection, and no one else anything', async () => {
    const { server, stillFine } = await busyServer();
    const socket = connect(server.url);
    const gone = next(socket, 'disconnect');
    socket.emit(EVENT.start, { query: 'x'.repeat(10 * 1024 * 1024) });
    await gone;
    await stillFine();
  });

  it('that is no Socket.IO at all costs its sender the connection', async () => {
    const { server, stillFine } = await busyServer();
    const socket = connect(server.url);
    await isServed(socket);
    const gone = next(socket, 'disconnect');
    socket.io.engine.write('4not a packet');
    await gone;
    await stillFine();
  });

  it('with a reply that is no function is carried out all the same', async () => {
    const { provider, nextCall } = stage();
    const socket = connect((await startServer(provider)).url);
    await socket.emitWithAck(EVENT.start, { query: 'q', stream_id: 'A' });
    const call = await nextCall();
    socket.emit(EVENT.cancel, { stream_id: 'A' }, 'not a function', { also: 'this' });
    await expect(call.aborted).resolves.toBeUndefined();
  });

  it.each([
    'GET // HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /../package.json HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /constructor HTTP/1.1\r\nHost: x\r\n\r\n',
  ])('over HTTP (%j) is not found', async (request) => {
    const { server, stillFine } = await busyServer();
    const socket = connectTcp(Number(new URL(server.url).port), '127.0.0.1');
    socket.write(request);
    const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    socket.destroy();
    expect(answer.toString()).toContain('404 Not Found');
    await stillFine();
  });
});

describe('a page of another origin', () => {
  const withOrigin = async (url: string, origin: string, transport: string): Promise<string> => {
    const { io } = await import('socket.io-client');
    const socket = io(url, {
      forceNew: true,
      transports: [transport],
      reconnection: false,
      extraHeaders: { origin },
    });
    const outcome = await new Promise<string>((resolve) => {
      socket.once('connect', () => resolve('connected'));
      socket.once('connect_error', () => resolve('refused'));
    });
    socket.disconnect();
    return outcome;
  };

  it.each(['websocket', 'polling'])('cannot connect by %s', async (transport) => {
    const { server } = await busyServer();
    expect(await withOrigin(server.url, 'https://evil.example', transport)).toBe('refused');
    expect(await withOrigin(server.url, 'http://localhost:5173', transport)).toBe('connected');
  });

  it('connects where ALLOWED_ORIGINS names it, and then no other does', async () => {
    const { url } = await startServer(stage().provider, {
      env: { ALLOWED_ORIGINS: 'https://chat.example' },
    });
    expect(await withOrigin(url, 'https://chat.example', 'websocket')).toBe('connected');
    expect(await withOrigin(url, 'http://localhost:5173', 'websocket')).toBe('refused');
  });
});
