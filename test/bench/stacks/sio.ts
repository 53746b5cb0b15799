import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import type { StreamRequest } from '../tokens/upstream.js';
import type { Connection, ServeOptions } from './stack.js';

// Plain Socket.IO over WebSocket: an `emit` for each token; watchers are a room.

export async function serve({ tokens }: ServeOptions): Promise<number> {
  const http = createServer();
  const server = new Server(http, { transports: ['websocket'], serveClient: false });
  server.on('connection', (socket) => {
    const answer = async (request: StreamRequest): Promise<void> => {
      for await (const token of tokens(request)) {
        if (!socket.connected) return;
        socket.emit('token', token);
      }
      socket.emit('end');
    };
    const answerAll = async (request: StreamRequest, room: string): Promise<void> => {
      for await (const token of tokens(request)) server.to(room).emit('token', token);
      server.to(room).emit('end');
    };
    const roomOf = ({ id }: StreamRequest): string => `stream ${id}`;
    socket.on('stream', (request: StreamRequest) => {
      if (!request.watched) return void answer(request);
      void socket.join(roomOf(request));
      void answerAll(request, roomOf(request));
    });
    socket.on('watch', (request: StreamRequest) => void socket.join(roomOf(request)));
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return (http.address() as AddressInfo).port;
}

export async function connect(url: string): Promise<Connection> {
  const socket = io(url, { transports: ['websocket'], forceNew: true, reconnection: false });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  let onText: (text: string) => void;
  let onEnd: () => void;
  socket.on('token', (text: string) => onText(text));
  socket.on('end', () => onEnd());
  const emit = (
    event: 'stream' | 'watch',
    request: StreamRequest,
    listener: (text: string) => void,
  ): Promise<void> =>
    new Promise((resolve) => {
      onText = listener;
      onEnd = resolve;
      socket.emit(event, request);
    });
  return {
    stream: (request, listener) => emit('stream', request, listener),
    watch: (request, listener) => emit('watch', request, listener),
    close: () => void socket.disconnect(),
  };
}
