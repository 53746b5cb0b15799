import { createServer as createTcpServer, connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { type Child, startChild } from '../child.js';

export interface ClusterNode extends Child {
  readonly url: string;
  /** The lines that it has printed, such as `call count 3`. */
  lines(): string[];
}

/** Starts a server process whose answers count; see `node.ts`. */
export async function startNode(
  redisUrl: string,
  env: Record<string, string> = {},
): Promise<ClusterNode> {
  const args = ['--conditions=@rivulet/source', '--import', 'tsx', 'test/harness/cluster/node.ts'];
  const child = await startChild(process.execPath, args, {
    env: { REDIS_URL: redisUrl, ...env },
    ready: /^listening (.*)$/,
  });
  onTestFinished(async () => {
    signal(child.pid, 'SIGCONT');
    await child.stop('SIGKILL');
  });
  return { ...child, url: child.match[1]!, lines: () => child.output().split('\n') };
}

/** Signals a process, unless it has ended. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A load balancer: each connection goes to the next server that takes it. */
export async function balance(urls: readonly string[]): Promise<{ url: string }> {
  let turn = 0;
  const open = new Set<Socket>();
  const server = createTcpServer((near) => {
    const lead = (attempt: number): void => {
      const far = connect(Number(new URL(urls[turn++ % urls.length]!).port), '127.0.0.1');
      far.once('error', () => {
        if (attempt < urls.length) lead(attempt + 1);
        else near.destroy();
      });
      far.once('connect', () => {
        near.pipe(far);
        far.pipe(near);
        far.on('close', () => near.destroy());
        near.on('close', () => far.destroy());
      });
    };
    open.add(near);
    near.on('error', () => near.destroy());
    lead(1);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}` };
}

/** The text of an answer that counts to `words`. */
export function counted(words: number): string {
  return Array.from({ length: words }, (_, i) => `${i} `).join('');
}
