import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A connection of a server to Redis. */
export interface ProxiedConnection {
  /** The data that the server has sent so far. It contains the name of the connection. */
  readonly sent: string;
}

export interface RedisProxy {
  readonly url: string;
  /** Connections that were accepted so far. */
  readonly accepted: number;
  /** Breaks new connections while it is true. */
  refuses: boolean;
  /** Drops what Redis sends to a connection for which it returns true. */
  drops: (connection: ProxiedConnection) => boolean;
  /** Leaves what Redis sends to a connection unread while it returns true. */
  pauses: (connection: ProxiedConnection) => boolean;
  /** The error with which each script is answered, instead of by Redis; none unless set. */
  fails: string | undefined;
}

const MAX_KEPT = 100_000;
const RESUME_CHECK_MS = 10;

/** A proxy before Redis at which the test breaks connections. It ends with the test. */
export async function redisProxy(target: string): Promise<RedisProxy> {
  const open = new Set<Socket>();
  let accepted = 0;
  const server = createServer((near) => {
    if (proxy.refuses) return void near.destroy();
    accepted += 1;
    const connection = { sent: '' };
    const far = connect(Number(new URL(target).port), '127.0.0.1');
    near.on('data', (data) => {
      if (connection.sent.length < MAX_KEPT) connection.sent += data.toString();
      const scripts = data.toString().match(/\r\nEVALSHA\r\n/g) ?? [];
      if (proxy.fails === undefined || scripts.length === 0) far.write(data);
      else near.write(`-${proxy.fails}\r\n`.repeat(scripts.length));
    });
    far.on('data', (data) => {
      if (!proxy.drops(connection)) near.write(data);
      if (proxy.pauses(connection)) far.pause();
    });
    const resuming = setInterval(() => {
      if (far.isPaused() && !proxy.pauses(connection)) far.resume();
    }, RESUME_CHECK_MS);
    far.once('close', () => clearInterval(resuming));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const proxy: RedisProxy = {
    url: `redis://127.0.0.1:${port}`,
    get accepted() {
      return accepted;
    },
    refuses: false,
    drops: () => false,
    pauses: () => false,
    fails: undefined,
  };
  return proxy;
}
