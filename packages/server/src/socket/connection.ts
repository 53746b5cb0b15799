import type { Socket } from 'socket.io';

/** The transport's connection, which carries the namespaces of one client. */
export type Connection = Socket['conn'];

/** A packet of Engine.IO. */
export interface Packet {
  type: string;
  data?: unknown;
}

/** The type of a Socket.IO packet, the number of its attachments, and its namespace. */
const HEADER = /^(?:[56]\d*-|\d)(\/[^,]*)?/;

/** The namespace of a Socket.IO packet. */
export function namespaceOf(data: string): string {
  return HEADER.exec(data)?.[1] ?? '/';
}

/** Keeps Socket.IO from seeing a packet: Engine.IO reads the type after its `packet` event. */
export function drop(packet: Packet): void {
  packet.type = 'noop';
}

export function sizeOf(data: unknown): number {
  if (typeof data === 'string') return Buffer.byteLength(data);
  return data instanceof Uint8Array ? data.byteLength : 0;
}

/**
 * Drops what opened a connection of ours, several kilobytes of headers, which Engine.IO and Socket.IO would
 * keep as long as the connection lasts. Neither reads it after a socket has entered its only namespace.
 */
export function releaseHandshake({ conn, handshake }: Socket): void {
  (conn as { request: unknown }).request = null;
  handshake.headers = {};
  handshake.query = {};
  handshake.auth = {};
}

/** Packets that wait for the transport, of one namespace if given. */
export function unreadOf(
  connection: Connection,
  namespace: string | undefined,
): { packets: number; units: number } {
  let packets = 0;
  let units = 0;
  for (const { data } of connection['writeBuffer']) {
    if (typeof data !== 'string') continue;
    if (namespace !== undefined && namespaceOf(data) !== namespace) continue;
    packets += 1;
    units += data.length;
  }
  return { packets, units };
}

/**
 * Ends a connection at once, also one that is being closed and waits for its client to read. The
 * request that opened a connection of polling may have used a TCP connection of a proxy, which others
 * use, too.
 */
export function terminate(connection: Connection): void {
  const { transport } = connection;
  // The transport's WebSocket; a closing one waits 30 s for its client.
  if ('socket' in transport) (transport.socket as { terminate?: () => void }).terminate?.();
  if (connection.readyState === 'closed') return;
  transport.discard();
  // A transport that is being closed ignores `close()`.
  transport.emit('close');
}
