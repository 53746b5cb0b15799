import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { Payload } from './packets.js';

/** A WebSocket connection of Engine.IO for raw messages. */
export interface RawConnection {
  /** All that the server has sent, as text. */
  readonly heard: () => string;
  readonly isOpen: () => boolean;
  /** Sends one WebSocket message. */
  send(payload: Payload): void;
  /** Resolves when the server has sent `text`, or when the connection is closed. */
  until(text: string): Promise<void>;
  close(): void;
}

const MAX_HEARD_UNITS = 1_000_000;

/** `localAddress` is one of 127.0.0.0/8: the server limits the connections of an address. */
export function openRaw(url: string, localAddress: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket: Socket = connect({
    host: hostname === 'localhost' ? '127.0.0.1' : hostname,
    port: Number(port),
    localAddress,
  });
  const listeners = new Set<() => void>();
  let heard = '';
  let isOpen = true;
  const notify = (): void => {
    for (const listener of listeners) listener();
  };
  socket.setNoDelay(true);
  socket.on('data', (bytes: Buffer) => {
    heard = (heard + bytes.toString('latin1')).slice(-MAX_HEARD_UNITS);
    notify();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    isOpen = false;
    notify();
  });
  socket.write(
    `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\n` +
      `Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  );
  const connection: RawConnection = {
    heard: () => heard,
    isOpen: () => isOpen,
    send: (payload) => void socket.write(frameOf(payload)),
    until: (text) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (isOpen && !heard.includes(text)) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        look();
      }),
    close: () => void socket.destroy(),
  };
  return connection.until('"sid"').then(() => connection);
}

/** A masked frame, as browsers send it. */
function frameOf(payload: Payload): Buffer {
  const isText = typeof payload === 'string';
  const bytes = isText ? Buffer.from(payload) : Buffer.from(payload);
  const { length } = bytes;
  const head = Buffer.alloc(length < 126 ? 2 : 4);
  head[0] = isText ? 0x81 : 0x82;
  head[1] = 0x80 | (length < 126 ? length : 126);
  if (length >= 126) head.writeUInt16BE(length, 2);
  // A mask of zeros leaves the bytes as they are.
  return Buffer.concat([head, Buffer.alloc(4), bytes]);
}
