import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EVENT } from '@rivulet/protocol';
import { Server, type Socket } from 'socket.io';
import { onTestFinished } from 'vitest';

export type Reply = (reply: object) => void;

/** A Socket.IO server that accepts each question; the test plays the rest. Closed when the test ends. */
export async function scriptedServer(): Promise<{ url: string; connection: Promise<Socket> }> {
  const http = createServer();
  const io = new Server(http);
  onTestFinished(() => io.close());
  const connection = new Promise<Socket>((resolve) => {
    io.on('connection', (socket) => {
      socket.on(EVENT.start, (_message: object, reply: Reply) =>
        reply({ ok: true, status: 'waiting', epoch: 'e', attempt: 0, ref: 1 }),
      );
      resolve(socket);
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, connection };
}
