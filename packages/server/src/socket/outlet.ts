import type { Socket } from 'socket.io';
import type { Flushable } from '../deliver/pace.js';

/** Whether a socket's transport takes more, and who waits until it does. */
export interface Outlet {
  /** Whether replies pile up that the client does not read. */
  readonly isFlooded: boolean;
  writable(reader: Flushable): boolean;
  close(): void;
}

const MAX_UNREAD_PACKETS = 256;

/**
 * Socket.IO buffers without bound what the transport does not take, so readers ask first. Those that
 * were refused flush in the order they asked, so that one stream does not starve the others.
 */
export function createOutlet({ conn }: Socket): Outlet {
  const waiting = new Set<Flushable>();
  // Engine.IO's own `drain` fires when a packet is handed over; `ready` is when it has left.
  let transport = conn.transport.on('ready', wake);

  function wake(): void {
    // One that is refused again waits at the end, behind those that this loop still comes to.
    for (const reader of waiting) {
      if (!conn.transport.writable) return;
      waiting.delete(reader);
      reader.flush();
    }
  }

  function followUpgrade(): void {
    transport.off('ready', wake);
    transport = conn.transport.on('ready', wake);
    wake();
  }
  conn.on('upgrade', followUpgrade);

  return {
    get isFlooded() {
      return conn['writeBuffer'].length > MAX_UNREAD_PACKETS;
    },
    writable(reader) {
      if (conn.transport.writable) return true;
      waiting.add(reader);
      return false;
    },
    close() {
      conn.off('upgrade', followUpgrade);
      transport.off('ready', wake);
      waiting.clear();
    },
  };
}
