import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * @returns a port of loopback on which nothing listens. It is below the ports of outgoing connections and of
 * `listen(0)`, which could take it before it is used, or while its server is replaced.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 7_000);
    // A node of a Redis cluster also listens on this one.
    const isFree = await Promise.all([port, port + 10_000].map(canListen));
    if (isFree.every(Boolean)) return port;
  }
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
