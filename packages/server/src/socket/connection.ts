import type { Socket } from 'socket.io';

/** The Engine.IO connection, which carries all namespaces of one client. */
export type Connection = Socket['conn'];

/** A packet of Engine.IO. */
export interface Packet {
  type: string;
  data?: unknown;
}

/** The type of a Socket.IO packet, the number of its attachments, and its namespace. */
const HEADER = /^(?:[56]\d*-|\d)(\/[^,]*)?/;

/** @returns the namespace of a Socket.IO packet. */
export function namespaceOf(data: string): string {
  return HEADER.exec(data)?.[1] ?? '/';
}

/** Hides a packet from Socket.IO: Engine.IO reads the type after its `packet` event. */
export function drop(packet: Packet): void {
  packet.type = 'noop';
}

export function sizeOf(data: unknown): number {
  if (typeof data === 'string') return Buffer.byteLength(data);
  return data instanceof Uint8Array ? data.byteLength : 0;
}

/**
 * Releases the request that opened a connection of Rivulet's own server: several kilobytes of headers, which
 * Engine.IO and Socket.IO would keep until the connection closes. They do not read it after a socket has
 * entered its only namespace.
 */
export function releaseHandshake({ conn, handshake }: Socket): void {
  (conn as { request: unknown }).request = null;
  handshake.headers = {};
  handshake.query = {};
  handshake.auth = {};
}

/** @returns the packets that the transport has not sent yet; of one namespace if given. */
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
 * Closes a connection at once, even if it is closing and waits for its client to read. The TCP connection of
 * a polling request stays open, because a proxy may use it for other clients, too.
 */
export function terminate(connection: Connection): void {
  const { transport } = connection;
  // A closing WebSocket would wait 30 s for its client.
  if ('socket' in transport) (transport.socket as { terminate?: () => void }).terminate?.();
  if (connection.readyState === 'closed') return;
  transport.discard();
  // A closing transport ignores `close()`.
  transport.emit('close');
}
