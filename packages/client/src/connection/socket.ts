import { io, type Socket } from 'socket.io-client';

export type { Socket } from 'socket.io-client';

export interface SocketOptions {
  url: string | undefined;
  path: string | undefined;
  /** The transport of the handshake. A connection that begins with polling is upgraded where it can be. */
  transport: 'websocket' | 'polling';
  /** Called once the transport is open, with a function that sends the payload of the handshake. */
  auth: (send: (data: object) => void) => void;
}

/**
 * Opens a socket that never reconnects by itself: Socket.IO would not try again after a refusal, nor at
 * once when a page is resumed.
 *
 * @param closed is called when the transport closes before it is open, which Socket.IO does not notice.
 */
export function openSocket(options: SocketOptions, closed: (socket: Socket) => void): Socket {
  const { url, path, transport, auth } = options;
  const socketOptions = {
    ...(path !== undefined && { path }),
    // A WebSocket takes fewer round trips than polling, and no sticky sessions at the server.
    transports: transport === 'websocket' ? ['websocket'] : ['polling', 'websocket'],
    reconnection: false,
    autoConnect: false,
    forceNew: true,
    auth,
  };
  const socket = url === undefined ? io(socketOptions) : io(url, socketOptions);
  socket.connect();
  const { engine } = socket.io;
  const closedEarly = (): void => closed(socket);
  engine.once('close', closedEarly);
  engine.once('open', () => engine.off('close', closedEarly));
  return socket;
}

/** Closes the socket. Its listeners hear nothing of that. */
export function closeSocket(socket: Socket): void {
  socket.off();
  socket.disconnect();
}
