import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A TCP proxy before a server, that a test can cut. */
export interface CuttableLink {
  readonly url: string;
  /** Breaks every connection; new ones are taken unless the link is down. */
  cut(): void;
  /** Breaks every connection and takes none. */
  down(): void;
  up(): void;
  /** Sends new connections to another server. */
  leadTo(url: string): void;
}

export async function cuttableLink(target: string): Promise<CuttableLink> {
  let port = Number(new URL(target).port);
  let isDown = false;
  const open = new Set<Socket>();
  const server = createServer((near) => {
    if (isDown) return void near.destroy();
    const far = connect(port, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket);
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        open.delete(socket);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => open.forEach((socket) => socket.destroy());
  onTestFinished(() => {
    cut();
    server.close();
  });
  const { port: own } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${own}`,
    cut,
    down() {
      isDown = true;
      cut();
    },
    up: () => void (isDown = false),
    leadTo: (url) => void (port = Number(new URL(url).port)),
  };
}
