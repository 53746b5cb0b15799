import type { Socket } from 'socket.io';
import type { Connection } from './connection.js';

// What Socket.IO's own adapter does for broadcasts, and what is no public API: `wsPreEncodedFrame`, the
// write buffer, and the TCP socket of a transport. Where Engine.IO does not know one of them any more, it
// encodes the packet itself, or writes it separately.

/** An event of Socket.IO; an event with binary data has another type. */
const EVENT_TYPE = '2';
/** A message of Engine.IO. */
const MESSAGE_TYPE = 0x34;
/** The first byte of a WebSocket frame that is a whole text message. */
const FINAL_TEXT = 0x81;

/** @returns true if JSON on this socket is what `emit()` would write: no other parser is in use. */
export function writesJson({ nsp }: Socket): boolean {
  return nsp.server['_opts'].parser === undefined;
}

/** @returns what precedes the JSON of an event in its packet. */
export function eventPrefix({ nsp }: Socket): string {
  return nsp.name === '/' ? EVENT_TYPE : `${EVENT_TYPE}${nsp.name},`;
}

/**
 * Writes packets of Socket.IO behind those that the connection has already. If the transport is a
 * WebSocket that is writable, they leave in one write of the TCP socket.
 */
export function writePackets(conn: Connection, packets: readonly string[]): void {
  if (conn.readyState !== 'open') return;
  const isWebSocket = conn.transport.name === 'websocket';
  const last = packets.length - 1;
  if (last === 0) return void conn.write(packets[0]!, optionsOf(packets[0]!, isWebSocket));
  for (let i = 0; i < last; i++) {
    const data = packets[i]!;
    conn['writeBuffer'].push({ type: 'message', data, options: optionsOf(data, isWebSocket) });
  }
  const tcp = isWebSocket ? tcpSocketOf(conn) : undefined;
  tcp?.cork();
  conn.write(packets[last]!, optionsOf(packets[last]!, isWebSocket));
  tcp?.uncork();
}

interface WriteOptions {
  compress: boolean;
  /** Only for a WebSocket without compression, which ignores the packet's data then. */
  wsPreEncodedFrame?: Buffer[];
}

function optionsOf(packet: string, isWebSocket: boolean): WriteOptions {
  return isWebSocket
    ? { compress: true, wsPreEncodedFrame: [frameOf(packet)] }
    : { compress: true };
}

/**
 * One buffer, which costs one `write`. `ws` writes the header and the text of a frame separately, which
 * costs a `writev`.
 */
function frameOf(packet: string): Buffer {
  const size = 1 + Buffer.byteLength(packet);
  const header = size < 126 ? 2 : size < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(header + size);
  frame[0] = FINAL_TEXT;
  if (header === 2) frame[1] = size;
  else if (header === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(size, 2);
  } else {
    frame[1] = 127;
    frame.writeUInt32BE(0, 2);
    frame.writeUInt32BE(size, 6);
  }
  frame[header] = MESSAGE_TYPE;
  frame.write(packet, header + 1);
  return frame;
}

interface Corkable {
  cork(): void;
  uncork(): void;
}

function tcpSocketOf({ transport }: Connection): Corkable | undefined {
  if (!('socket' in transport)) return undefined;
  return (transport.socket as { _socket?: Corkable })._socket;
}
