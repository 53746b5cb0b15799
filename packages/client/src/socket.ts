import { io, type Socket } from 'socket.io-client';

export type { Socket } from 'socket.io-client';

/** Until which a server has to have answered. */
export const CONNECT_TIMEOUT_MS = 15_000;

/** A socket that connects when told to. `auth` is asked at each connect for what to say of itself. */
export function createSocket(
  url: string | undefined,
  path: string | undefined,
  auth: (send: (data: object) => void) => void,
): Socket {
  const options = {
    // A websocket first: it takes fewer round trips, and no sticky sessions at the server.
    transports: ['websocket', 'polling'],
    tryAllTransports: true,
    // It would not try again after a refusal, nor as soon as a page wakes up.
    reconnection: false,
    timeout: CONNECT_TIMEOUT_MS,
    autoConnect: false,
    forceNew: true,
    auth,
    ...(path !== undefined && { path }),
  };
  return url === undefined ? io(options) : io(url, options);
}

/**
 * Connects. Until an engine has its handshake Socket.IO listens only for errors, and would wait out its
 * timeout for one that was closed: `closed` hears of that at once.
 */
export function openSocket(socket: Socket, closed: () => void): void {
  socket.connect();
  const { engine } = socket.io;
  const early = (reason: string): void => {
    if (reason === 'forced close' || socket.connected) return;
    socket.disconnect();
    closed();
  };
  engine.once('close', early);
  engine.once('open', () => engine.off('close', early));
}
