import { type Agent, request } from 'node:http';
import { Manager } from 'socket.io-client';
import { onTestFinished } from 'vitest';

const SEPARATOR = '\x1e';
/** The type of an Engine.IO packet that carries one of Socket.IO. */
const MESSAGE = '4';

export interface Answer {
  status: number;
  body: string;
}

/** A connection of HTTP polling that sends what the test says. */
export interface PollingClient {
  /** Sends the packets in one payload. */
  post(packets: readonly string[]): Promise<Answer>;
  /** The packets that the server has for this client. */
  poll(): Promise<string[]>;
  /** Polls until a packet matches, or the connection ends. All packets that came. */
  pollUntil(pattern: RegExp): Promise<string[]>;
}

export interface Source {
  /** An address of 127.0.0.0/8. */
  localAddress?: string;
  agent?: Agent;
}

const handshakePath = '/socket.io/?EIO=4&transport=polling';

/** @throws {Error} the server refuses the handshake, or cuts it. */
export async function openPolling(url: string, source: Source = {}): Promise<PollingClient> {
  const send = (path: string, body?: string): Promise<Answer> => ask(url + path, source, body);
  const { status, body } = await send(handshakePath);
  if (status !== 200) throw new Error(`refused: ${body}`);
  const { sid } = JSON.parse(body.slice(1)) as { sid: string };
  const path = `${handshakePath}&sid=${sid}`;
  const poll = async (): Promise<string[]> => {
    const answer = await send(path);
    return answer.status === 200 ? answer.body.split(SEPARATOR) : [];
  };
  return {
    post: (packets) => send(path, packets.join(SEPARATOR)),
    poll,
    async pollUntil(pattern) {
      const heard: string[] = [];
      for (;;) {
        const packets = await poll().catch(() => []);
        heard.push(...packets);
        if (packets.length === 0 || packets.some((packet) => pattern.test(packet))) return heard;
      }
    },
  };
}

export function ask(url: string, { localAddress, agent }: Source = {}, body?: string) {
  return new Promise<Answer>((resolve, reject) => {
    const asked = request(
      url,
      {
        method: body === undefined ? 'GET' : 'POST',
        ...(localAddress !== undefined && { localAddress }),
        agent: agent ?? false,
        headers: { 'content-type': 'text/plain;charset=UTF-8' },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (data: string) => (text += data));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        response.on('error', reject);
      },
    );
    asked.on('error', reject);
    asked.end(body);
  });
}

/** A WebSocket of Engine.IO that sends what the test says: packets that begin with `4`, or binary ones. */
export interface RawWebSocket {
  write(packet: string | Buffer): void;
  /** The messages received so far. */
  readonly heard: string[];
  readonly closed: Promise<void>;
  /** Resolves when a packet matches; rejects when the connection ends before. */
  hears(pattern: RegExp): Promise<string>;
  close(): void;
}

/** @throws {Error} the server refuses the handshake, or cuts it. */
export async function openWebSocket(
  url: string,
  { localAddress }: Source = {},
): Promise<RawWebSocket> {
  const options = { transports: ['websocket'], autoConnect: false, reconnection: false };
  const manager = new Manager(url, {
    ...options,
    ...(localAddress !== undefined && ({ localAddress } as object)),
  });
  const heard: string[] = [];
  const listeners = new Set<() => void>();
  const opened = new Promise<void>((resolve, reject) => {
    manager.open((error?: Error) => (error === undefined ? resolve() : reject(error)));
  });
  const { engine } = manager;
  onTestFinished(() => void engine.close());
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    engine.on('close', () => {
      isClosed = true;
      for (const listener of listeners) listener();
      resolve();
    });
  });
  engine.on('data', (data: unknown) => {
    heard.push(`${MESSAGE}${String(data)}`);
    for (const listener of listeners) listener();
  });
  await opened;
  return {
    write(packet) {
      engine.write(typeof packet === 'string' ? packet.slice(MESSAGE.length) : packet);
    },
    heard,
    closed,
    hears: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = heard.find((packet) => pattern.test(packet));
          if (found !== undefined) resolve(found);
          else if (isClosed) reject(new Error(`it ended before ${pattern}: ${heard.join(' ')}`));
          else return;
          listeners.delete(look);
        };
        listeners.add(look);
        look();
      }),
    close: () => void engine.close(),
  };
}
