import type { Socket } from 'socket.io';
import type { Flushable } from '../deliver/pace.js';

/** Backpressure of one socket's transport. */
export interface Backpressure {
  /** @returns true if the transport takes a message now. If not, `reader` is flushed when it does. */
  writable(reader: Flushable): boolean;
  /** The reader is not flushed any more. */
  forget(reader: Flushable): void;
  close(): void;
}

/**
 * Socket.IO buffers without bound what the transport does not take, so readers ask first. Readers that
 * have to wait flush in the order in which they asked, so that one stream does not starve the others.
 */
export function createBackpressure({ conn }: Socket): Backpressure {
  const waiting = new Set<Flushable>();
  // Engine.IO's `drain` fires when a packet is handed over; the transport's `ready` when it has left.
  let transport = conn.transport.on('ready', wake);

  function wake(): void {
    // A reader that has to wait again goes to the end of the set, which this loop still reaches.
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
    writable(reader) {
      if (conn.transport.writable) return true;
      waiting.add(reader);
      return false;
    },
    forget: (reader) => void waiting.delete(reader),
    close() {
      conn.off('upgrade', followUpgrade);
      transport.off('ready', wake);
      waiting.clear();
    },
  };
}
