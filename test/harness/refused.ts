import type { WireError } from '@rivulet/protocol';
import type { Socket } from 'socket.io-client';

/** Why a server does not let a socket in. */
export function refused(socket: Socket): Promise<WireError> {
  return new Promise((resolve, reject) => {
    socket.once('connect', () => reject(new Error('it was let in')));
    socket.once('connect_error', (error: Error & { data?: WireError }) => {
      if (error.data === undefined) reject(error);
      else resolve(error.data);
    });
  });
}
