import {
  EVENT,
  type StreamEndMessage,
  type StreamErrorMessage,
  type StreamIncompleteMessage,
} from '@rivulet/protocol';
import { io, type Socket } from 'socket.io-client';
import { onTestFinished } from 'vitest';

/** A socket of plain Socket.IO, closed when the test ends. */
export function connect(url: string, auth: Record<string, unknown> = {}): Socket {
  const socket = io(url, { auth, forceNew: true, transports: ['websocket'], reconnection: false });
  onTestFinished(() => void socket.disconnect());
  return socket;
}

/** The message of the next `event` for which `matches` returns true. */
export function next<T>(
  socket: Socket,
  event: string,
  matches: (message: T) => boolean = () => true,
): Promise<T> {
  return new Promise((resolve) => {
    const listen = (message: T): void => {
      if (!matches(message)) return;
      socket.off(event, listen);
      resolve(message);
    };
    socket.on(event, listen);
  });
}

export interface Collected {
  chunks: string[];
  text: string;
  terminal: StreamEndMessage | StreamErrorMessage;
}

/** Concatenates chunks until the stream ends; as the seed's client does, it knows no offset. */
export async function collect(socket: Socket): Promise<Collected> {
  const chunks: string[] = [];
  const listen = ({ data }: { data: string }): void => void chunks.push(data);
  socket.on(EVENT.chunk, listen);
  const failed = next<StreamErrorMessage>(socket, EVENT.error);
  const end = next<StreamEndMessage | StreamIncompleteMessage>(socket, EVENT.end);
  type Last = StreamEndMessage | StreamIncompleteMessage | StreamErrorMessage;
  const refused = failed.then((error): Last | Promise<Last> =>
    error.offset === undefined ? error : end,
  );
  const last = await Promise.race([end, refused]);
  const terminal = last.type === EVENT.end && !last.complete ? await failed : last;
  socket.off(EVENT.chunk, listen);
  return { chunks, text: chunks.join(''), terminal };
}
