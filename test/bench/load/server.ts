import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createLogger, createServer, mockProvider } from '@rivulet/server';
import { Server } from 'socket.io';
import { PATIENT } from '../../harness/providers.js';
import type { FromServer, LoadPlan } from './messages.js';

// The server of one stack. Each client has a stream of its own, and connections are reset at random.

const TICK_MS = 20;

const plan = JSON.parse(process.argv[2] ?? '') as LoadPlan;
const sockets = new Set<Socket>();
let drops = 0;

const say = (message: FromServer): void => void process.send?.(message);

async function serveRivulet(): Promise<HttpServer> {
  async function* script() {
    const startedAt = performance.now();
    for (let i = 0; i < plan.tokens; i++) {
      yield { waitMs: Math.max(0, startedAt + i * plan.everyMs - performance.now()) };
      yield { text: `${i} ` };
    }
    yield { finish: 'stop' } as const;
  }
  const most = 4 * plan.clients;
  const deadlines = { ...PATIENT, totalMs: 10 * plan.tokens * plan.everyMs };
  const server = await createServer({
    env: {},
    port: 0,
    cache: { enabled: false },
    rateLimit: { requests: 1_000_000 },
    limits: { maxConnections: most, maxConnectionsPerAddress: most, maxHandshakesPerAddress: most },
    logger: createLogger('silent'),
    providers: [{ provider: mockProvider(script), concurrency: 10_000, deadlines }],
  });
  await server.listen();
  return server.http;
}

function serveSocketIo(): HttpServer {
  const http = createHttpServer();
  const io = new Server(http, plan.stack === 'recovery' ? { connectionStateRecovery: {} } : {});
  const users = new Set<string>();
  io.on('connection', (socket) => {
    const { user } = socket.handshake.auth as { user: string };
    void socket.join(user);
    if (users.has(user)) return;
    users.add(user);
    let i = 0;
    const timer = setInterval(() => {
      io.to(user).emit('token', i++);
      if (i === plan.tokens) clearInterval(timer);
    }, plan.everyMs);
  });
  http.listen(0, '127.0.0.1');
  return http;
}

/** Resets the connections of the plan, evenly over the time of the streams, once all clients are connected. */
function dropConnections(): void {
  const durationMs = plan.tokens * plan.everyMs;
  let startedAt: number | undefined;
  const timer = setInterval(() => {
    if (startedAt === undefined && sockets.size < plan.clients) return;
    startedAt ??= performance.now();
    const part = (performance.now() - startedAt) / durationMs;
    const due = Math.min(plan.drops, Math.floor(plan.drops * part));
    const open = [...sockets];
    for (; drops < due && open.length > 0; drops++) {
      const [socket] = open.splice(Math.floor(Math.random() * open.length), 1);
      socket?.resetAndDestroy();
    }
    if (drops >= plan.drops) clearInterval(timer);
  }, TICK_MS);
}

const http = plan.stack === 'rivulet' ? await serveRivulet() : serveSocketIo();
http.on('connection', (socket: Socket) => {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
});
if (!http.listening) await new Promise<void>((resolve) => http.once('listening', resolve));
dropConnections();
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  const rssMb = process.memoryUsage().rss / 1e6;
  say({ type: 'usage', cpuSeconds: (user + system) / 1e6, rssMb, drops });
});
process.on('disconnect', () => process.exit());
say({ type: 'listening', url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });
