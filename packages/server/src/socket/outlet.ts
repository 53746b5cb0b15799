import type { Socket } from 'socket.io';
import type { Flushable } from '../deliver/pace.js';

/** Whether a socket's transport takes more, and who waits until it does. */
export interface Outlet {
  writable(reader: Flushable): boolean;
  close(): void;
}

/**
 * Socket.IO buffers without bound what the transport does not take, so readers ask first. Those that
 * were refused flush in the order they asked, so that one stream does not starve the others.
 */
export function createOutlet({ conn }: Socket): Outlet {
  let waiting = new Set<Flushable>();
  // Engine.IO's own `drain` fires when a packet is handed over; `ready` is when it has left.
  let transport = conn.transport.on('ready', wake);

  function wake(): void {
    const readers = waiting;
    waiting = new Set();
    for (const reader of readers) reader.flush();
  }

  function followUpgrade(): void {
    transport.off('ready', wake);
    transport = conn.transport.on('ready', wake);
    wake();
  }
  conn.on('upgrade', followUpgrade);

  return {
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
