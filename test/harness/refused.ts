import type { WireError } from '@rivulet/protocol';
import type { Socket } from 'socket.io-client';

/** The reason for which a server refuses a socket. */
export function refused(socket: Socket): Promise<WireError> {
  return new Promise((resolve, reject) => {
    socket.once('connect', () => reject(new Error('it was let in')));
    socket.once('connect_error', (error: Error & { data?: WireError }) => {
      if (error.data === undefined) reject(error);
      else resolve(error.data);
    });
  });
}
