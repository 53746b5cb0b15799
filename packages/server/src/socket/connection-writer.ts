import type { Socket as TcpSocket } from 'node:net';
import type { Connection } from './connection.js';

/** The packet type of an Engine.IO message. */
const MESSAGE_TYPE = '4';
/** The first byte of a WebSocket frame that is a whole text message, as a Latin-1 character. */
const FINAL_TEXT = '\x81';
const OPEN = 1;
/** Packets beyond it are passed to Engine.IO. Those in its queue count as unread. */
const MAX_UNSENT_BYTES = 65_536;
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\0-\x7f]*$/;

/** The fields of a WebSocket of `ws`. `_socket` is not public. Other WebSocket servers do not have it. */
interface WebSocket {
  readonly readyState?: number;
  readonly extensions?: string;
  readonly _socket?: TcpSocket;
}

/**
 * Writes Socket.IO packets to one connection, in order with the packets that Engine.IO writes.
 *
 * If the transport is a WebSocket of `ws` without extensions, and Engine.IO has nothing to write, frames are
 * written directly to the TCP socket, because Engine.IO and `ws` cost as much as the write itself. Otherwise,
 * and for a client that does not read, packets are passed to Engine.IO.
 */
export class ConnectionWriter {
  readonly #conn: Connection;
  /** The transport of `#webSocket`. An upgrade replaces it. */
  #transport: Connection['transport'] | undefined;
  /** Undefined if frames have to go through Engine.IO. */
  #webSocket: WebSocket | undefined;

  constructor(conn: Connection) {
    this.#conn = conn;
  }

  /** True if a write is passed to the operating system at once. */
  get isWritable(): boolean {
    const tcp = this.#tcpSocket();
    if (tcp === undefined) return this.#conn.transport.writable;
    return tcp.writableLength === 0 && this.#conn['writeBuffer'].length === 0;
  }

  /** Calls `listener` once, when the connection may have become writable. */
  onWritable(listener: () => void): void {
    const tcp = this.#tcpSocket();
    // The callback of an empty write is called after those of all earlier writes.
    if (tcp !== undefined) return void tcp.write('', listener);
    const conn = this.#conn;
    const { transport } = conn;
    function wake(): void {
      transport.off('ready', wake);
      conn.off('upgrade', wake);
      listener();
    }
    // Engine.IO's `drain` event fires when a packet is passed to the transport; the transport's `ready` after
    // it was sent.
    transport.on('ready', wake);
    conn.on('upgrade', wake);
  }

  /** Combines everything that `write` writes into one write of the TCP socket. */
  together(write: () => void): void {
    const tcp = this.#tcpSocket();
    tcp?.cork();
    write();
    tcp?.uncork();
  }

  write(packets: readonly string[]): void {
    const tcp = this.#conn['writeBuffer'].length === 0 ? this.#tcpSocket() : undefined;
    if (tcp === undefined || tcp.writableLength > MAX_UNSENT_BYTES) {
      for (const packet of packets) this.#conn.write(packet, { compress: true });
      return;
    }
    let frames = '';
    for (const packet of packets) {
      if (packet.length > 65_534 || !ASCII.test(packet)) return writeUtf8(tcp, packets);
      frames += headerOf(packet.length + 1) + MESSAGE_TYPE + packet;
    }
    tcp.write(frames, 'latin1');
  }

  #tcpSocket(): TcpSocket | undefined {
    const { transport, readyState } = this.#conn;
    if (transport !== this.#transport) {
      this.#transport = transport;
      this.#webSocket = directSocketOf(transport);
    }
    if (this.#webSocket?.readyState !== OPEN || readyState !== 'open') return undefined;
    const { _socket: tcp } = this.#webSocket;
    return tcp;
  }
}

function directSocketOf(transport: Connection['transport']): WebSocket | undefined {
  if (transport.name !== 'websocket' || !('socket' in transport)) return undefined;
  const webSocket = transport.socket as WebSocket;
  const { extensions, _socket: tcp } = webSocket;
  return extensions === '' && tcp !== undefined ? webSocket : undefined;
}

function writeUtf8(tcp: TcpSocket, packets: readonly string[]): void {
  const frames = packets.map((packet) => {
    const text = MESSAGE_TYPE + packet;
    const size = Buffer.byteLength(text);
    const header = headerOf(size);
    const frame = Buffer.allocUnsafe(header.length + size);
    frame.write(header, 'latin1');
    frame.write(text, header.length);
    return frame;
  });
  tcp.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
}

/** @returns the header of a frame with `size` bytes, one character per byte. */
function headerOf(size: number): string {
  if (size < 126) return FINAL_TEXT + String.fromCharCode(size);
  if (size < 65_536) return FINAL_TEXT + String.fromCharCode(126, size >> 8, size & 0xff);
  const bytes = [24, 16, 8, 0].map((shift) => (size >>> shift) & 0xff);
  return FINAL_TEXT + String.fromCharCode(127, 0, 0, 0, 0, ...bytes);
}
