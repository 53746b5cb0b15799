import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import type { StreamRequest } from '../tokens/upstream.js';
import type { Connection, ServeOptions } from './stack.js';

// `ws` alone: a frame for each token, an empty one at the end. All ratios are to this stack.

type Message = { type: 'stream' | 'watch'; request: StreamRequest };

export async function serve({ tokens }: ServeOptions): Promise<number> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  const watchers = new Map<number, Set<WebSocket>>();
  const answer = async (socket: WebSocket, request: StreamRequest): Promise<void> => {
    for await (const token of tokens(request)) {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(token);
    }
    socket.send('');
  };
  const answerAll = async (sockets: Set<WebSocket>, request: StreamRequest): Promise<void> => {
    for await (const token of tokens(request)) for (const socket of sockets) socket.send(token);
    for (const socket of sockets) socket.send('');
  };
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data) => {
      const { type, request } = JSON.parse(textOf(data)) as Message;
      if (!request.watched) return void answer(socket, request);
      const sockets = watchers.get(request.id) ?? new Set();
      watchers.set(request.id, sockets.add(socket));
      if (type === 'stream') void answerAll(sockets, request);
    });
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

export async function connect(url: string): Promise<Connection> {
  const socket = new WebSocket(url.replace('http', 'ws'));
  await once(socket, 'open');
  let onText: (text: string) => void;
  let onEnd: () => void;
  socket.on('message', (data) => {
    const text = textOf(data);
    if (text === '') onEnd();
    else onText(text);
  });
  const send = (message: Message, listener: (text: string) => void): Promise<void> =>
    new Promise((resolve) => {
      onText = listener;
      onEnd = resolve;
      socket.send(JSON.stringify(message));
    });
  return {
    stream: (request, listener) => send({ type: 'stream', request }, listener),
    watch: (request, listener) => send({ type: 'watch', request }, listener),
    close: () => socket.terminate(),
  };
}

/** A message is one buffer unless `binaryType` says otherwise. */
function textOf(data: RawData): string {
  return (data as Buffer).toString();
}
