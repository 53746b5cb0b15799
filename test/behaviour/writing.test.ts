import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Socket as TcpSocket } from 'node:net';
import { EVENT, type StreamReply } from '@rivulet/protocol';
import type { Server, ServerOptions, Socket as ServerSocket } from 'socket.io';
import { io as connectTo, type ManagerOptions, type Socket } from 'socket.io-client';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Connection } from '../../packages/server/src/socket/connection.js';
import { ConnectionWriter } from '../../packages/server/src/socket/connection-writer.js';
import { attachedServer } from '../harness/attached.js';
import { next } from '../harness/plain-client.js';
import { type Call, stage } from '../harness/stage.js';

/** A parser that writes the type of a packet, then the packet as a JSON object. */
class Encoder {
  encode(packet: { type: number }): string[] {
    return [packet.type + JSON.stringify(packet)];
  }
}
class Decoder extends EventEmitter {
  add(data: string): void {
    this.emit('decoded', JSON.parse(data.slice(1)));
  }
  destroy(): void {}
}
/** Calls `listener` the first time only. */
function once(listener: () => void): () => void {
  let isCalled = false;
  return () => {
    if (!isCalled) listener();
    isCalled = true;
  };
}

const JSON_PARSER = { Encoder, Decoder };

const TEXTS = [
  'a',
  ' "quoted"\\\n',
  'x'.repeat(122),
  'x'.repeat(200),
  'Müller ',
  'é'.repeat(70),
  '🦊'.repeat(2_000),
  'y'.repeat(3_000),
];

interface Setup {
  server?: Partial<ServerOptions>;
  client?: Partial<ManagerOptions>;
  namespace?: string;
}

const SETUPS: Record<string, Setup> = {
  'a WebSocket': {},
  'a namespace': { namespace: '/answers' },
  'long polling': { client: { transports: ['polling'] } },
  'a compressed WebSocket': { server: { perMessageDeflate: { threshold: 0 } } },
  'another parser': { server: { parser: JSON_PARSER }, client: { parser: JSON_PARSER } },
};

async function serve({ server, client, namespace = '/' }: Setup = {}) {
  const { provider, nextCall } = stage();
  const { url, io } = await attachedServer(provider, { namespace }, server);
  const options = { transports: ['websocket'], forceNew: true, reconnection: false, ...client };
  const socket = connectTo(`${url}${namespace}`, options);
  onTestFinished(() => void socket.disconnect());
  return { io, socket, nextCall };
}

interface Reading {
  /** The received messages in order: the reply, then text. */
  readonly events: string[];
  readonly ended: Promise<unknown>;
}

/** Starts a stream, which is read with a window or without one. */
function start(socket: Socket, id: string, window?: number): Reading {
  const events: string[] = [];
  let ref: number | undefined;
  socket.on(EVENT.shortChunk, (of: number, _: number, text: string) => {
    if (of === ref) events.push(text);
  });
  socket.on(EVENT.chunk, ({ stream_id, data }) => {
    if (stream_id === id) events.push(data);
  });
  const ended = next(socket, EVENT.end, (end: { stream_id: string }) => end.stream_id === id);
  const message = { query: id, stream_id: id, ...(window !== undefined && { window }) };
  socket.emit(EVENT.start, message, (reply: StreamReply) => {
    expect(reply).toMatchObject({ ok: true });
    if (reply.ok) ref = reply.ref;
    events.push('reply');
  });
  return { events, ended };
}

function sayAll(call: Call): void {
  for (const text of TEXTS) call.say(text);
  call.finish();
}

function serverSocket(io: Server): ServerSocket {
  const [socket] = io.sockets.sockets.values();
  if (socket === undefined) throw new Error('a client is connected');
  return socket;
}

function tcpSocket({ conn }: ServerSocket): TcpSocket {
  const { socket } = conn.transport as unknown as { socket: { _socket: TcpSocket } };
  const { _socket: tcp } = socket;
  return tcp;
}

describe.each(Object.entries(SETUPS))('over %s', (_, setup) => {
  it.each([undefined, 100_000])('all text comes after the reply; window %s', async (window) => {
    const { socket, nextCall } = await serve(setup);
    const { events, ended } = start(socket, 'A', window);
    sayAll(await nextCall());
    await ended;
    expect(events[0]).toBe('reply');
    expect(events.slice(1).join('')).toBe(TEXTS.join(''));
  });
});

describe('text for a client', () => {
  it('goes straight to the TCP socket, that of all streams of a connection in one write', async () => {
    const { io, socket, nextCall } = await serve();
    const first = start(socket, 'A', 10_000);
    const one = await nextCall();
    const second = start(socket, 'B', 10_000);
    const other = await nextCall();
    one.say('a');
    other.say('b');
    await vi.waitFor(() => expect([...first.events, ...second.events]).toHaveLength(4));

    const server = serverSocket(io);
    const packets = vi.fn<() => void>();
    server.conn.on('packetCreate', packets);
    const write = vi.spyOn(tcpSocket(server), 'write');
    const came = next<number>(socket, EVENT.shortChunk, (ref) => ref === 2);
    one.say('text of one');
    other.say('and of the other');
    await came;
    expect(packets).not.toHaveBeenCalled();
    expect(write).toHaveBeenCalledTimes(1);
    expect([first.events.at(-1), second.events.at(-1)]).toEqual([
      'text of one',
      'and of the other',
    ]);
  });

  it('is one frame for each chunk where the WebSocket is compressed', async () => {
    const { io, socket, nextCall } = await serve(SETUPS['a compressed WebSocket']);
    const { ended } = start(socket, 'A', 100_000);
    const call = await nextCall();
    const { transport } = serverSocket(io).conn;
    expect(transport).toHaveProperty('socket.extensions', expect.stringContaining('deflate'));
    sayAll(call);
    await ended;
  });

  it('follows an upgrade from polling to a WebSocket in the middle of a stream', async () => {
    const { io, socket, nextCall } = await serve({
      client: { transports: ['polling', 'websocket'] },
    });
    let upgrade = (): void => {};
    io.engine.use((request: IncomingMessage, _: unknown, handle: () => void) => {
      if (request.url?.includes('transport=websocket') === true) upgrade = once(handle);
      else handle();
    });
    const { events, ended } = start(socket, 'A', 1_000_000);
    const call = await nextCall();
    const packets = vi.fn<() => void>();
    const nameOfTransport = (): string => serverSocket(io).conn.transport.name;
    const sentOver = new Set<string>();
    let said = '';
    for (let i = 0; i < 1_000 || nameOfTransport() !== 'websocket'; i++) {
      if (i >= 100) upgrade();
      const text = `${i}-`;
      said += text;
      sentOver.add(nameOfTransport());
      call.say(text);
      await new Promise(setImmediate);
    }
    serverSocket(io).conn.on('packetCreate', packets);
    call.say('the end');
    call.finish();
    await ended;
    expect(packets).not.toHaveBeenCalled();
    expect([...sentOver]).toEqual(['polling', 'websocket']);
    expect(events.slice(1).join('')).toBe(`${said}the end`);
  });

  it('is seen by those who listen to all that the server sends', async () => {
    const { io, socket, nextCall } = await serve();
    const seen: unknown[] = [];
    await next(socket, 'connect');
    serverSocket(io).onAnyOutgoing((event: string, _: number, __: number, text: string) => {
      if (event === EVENT.shortChunk) seen.push(text);
    });
    const { events, ended } = start(socket, 'A', 100_000);
    sayAll(await nextCall());
    await ended;
    expect(seen.join('')).toBe(TEXTS.join(''));
    expect(events.slice(1)).toEqual(seen);
  });

  it('waits for a client that does not read, and for those before it', async () => {
    const { io, socket, nextCall } = await serve();
    const { events, ended } = start(socket, 'A', 1_000_000);
    const call = await nextCall();
    call.say('a');
    await vi.waitFor(() => expect(events).toHaveLength(2));
    const tcp = tcpSocket(serverSocket(io));
    // As when the kernel takes no more.
    tcp.cork();
    tcp.write('');
    call.say('b');
    await new Promise(setImmediate);
    call.say('c'.repeat(9_000));
    await new Promise(setImmediate);
    expect(tcp.writableLength).toBeLessThan(100);
    tcp.uncork();
    call.finish();
    await ended;
    expect(events.slice(1).join('')).toBe(`ab${'c'.repeat(9_000)}`);
  });
});

/** The texts of WebSocket frames that are not masked. */
function textsOf(bytes: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length;) {
    expect(bytes[at]).toBe(0x81);
    const short = bytes[at + 1]!;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    const size =
      short < 126
        ? short
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    at += header;
    texts.push(bytes.toString('utf8', at, at + size));
    at += size;
  }
  return texts;
}

describe('a frame', () => {
  it.each([1, 123, 124, 125, 126, 65_533, 65_534, 65_535, 65_536, 200_000])(
    'of a packet of %i bytes is one that WebSockets can read',
    (size) => {
      const written: Buffer[] = [];
      const tcp = {
        writableLength: 0,
        write: (data: string | Buffer, encoding?: BufferEncoding) =>
          written.push(typeof data === 'string' ? Buffer.from(data, encoding) : data),
      };
      const transport = {
        name: 'websocket',
        writable: true,
        socket: { readyState: 1, extensions: '', _socket: tcp },
      };
      const conn = { readyState: 'open', writeBuffer: [], transport } as unknown as Connection;
      const packets = ['x'.repeat(size), `${'x'.repeat(Math.max(0, size - 2))}é`];
      new ConnectionWriter(conn).write(packets.slice(0, 1));
      new ConnectionWriter(conn).write(packets);
      const [first, second] = packets.map((packet) => `4${packet}`);
      expect(textsOf(Buffer.concat(written))).toEqual([first, first, second]);
    },
  );
});
