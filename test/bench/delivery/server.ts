import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EVENT } from '@rivulet/protocol';
import { createLogger, createServer, type Provider, questionOf } from '@rivulet/server';
import { Server } from 'socket.io';
import { PATIENT } from '../../harness/providers.js';
import { piecesFor } from './script.js';
import type { FromServer, ToServer } from './talk.js';

// A measured server: `rivulet`, or `floor`, which is Socket.IO that emits each token.

let release = (): void => {};
const released = new Promise<void>((resolve) => (release = resolve));
const say = (message: FromServer): void => void process.send?.(message);

const provider: Provider = {
  name: 'bench',
  model: 'script',
  async *stream(prompt) {
    for await (const text of piecesFor(questionOf(prompt), released)) yield { type: 'text', text };
    yield { type: 'finish', reason: 'stop', usage: {} };
  },
};

async function rivulet(): Promise<HttpServer> {
  const { http, listen } = await createServer({
    env: {},
    port: 0,
    cache: { enabled: false },
    rateLimit: { requests: 1_000_000 },
    logger: createLogger('silent'),
    providers: [{ provider, deadlines: PATIENT }],
    // The measurement of a server at rest comes after finished streams are dropped.
    limits: { finishedRetentionMs: 500 },
  });
  await listen();
  return http;
}

async function floor(): Promise<HttpServer> {
  const http = createHttpServer();
  const io = new Server(http, { serveClient: false });
  io.on('connection', (socket) => {
    socket.on(EVENT.start, async ({ query, stream_id }: { query: string; stream_id: string }) => {
      let offset = 1;
      for await (const data of piecesFor(query, released)) {
        socket.emit(EVENT.chunk, { type: EVENT.chunk, data, stream_id, offset });
        offset += data.length;
      }
      socket.emit(EVENT.end, { type: EVENT.end, complete: true, stream_id, offset });
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return http;
}

const http = await (process.argv[2] === 'floor' ? floor() : rivulet());

process.on('message', (message: ToServer) => {
  if (message.type === 'release') return release();
  // Twice: what is freed by finalizers of the first is collected by the second.
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  http.getConnections((_, sockets) => {
    const resources = process.getActiveResourcesInfo().length;
    const cpuMicros = user + system;
    const figures = { rss, heap: heapUsed, external, cpuMicros, sockets, resources };
    say({ type: 'figures', figures });
  });
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });
