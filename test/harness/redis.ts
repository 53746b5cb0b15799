import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from 'redis';
import { onTestFinished } from 'vitest';
import { freePort } from './free-port.js';

/** A Redis of a test, on a port of its own. */
export interface TestRedis {
  readonly url: string;
  /** Sends a command, such as `PTTL key`. */
  command(...args: string[]): Promise<unknown>;
  /** Sends a signal, such as SIGSTOP. */
  signal(name: NodeJS.Signals): void;
  /** Ends the process. */
  stop(): Promise<void>;
  /** Starts it again on the same port; with its data if it has an append-only file. */
  start(): Promise<void>;
}

const EXECUTABLE = process.env['REDIS_SERVER_PATH'] ?? 'redis-server';

/** Starts a Redis that ends with the test. */
export async function startRedis(...args: string[]): Promise<TestRedis> {
  const redis = await runRedis(...args);
  onTestFinished(() => redis.end());
  return redis;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Present if the tests of the project run over Redis. */
    redisUrl?: string;
  }
}

/** @returns the settings of a server that shares nothing with other servers of the Redis. */
export function ownKeys(
  url: string | undefined,
): { redis: { url: string; keyPrefix: string } } | undefined {
  return url === undefined ? undefined : { redis: { url, keyPrefix: `${randomUUID()}:` } };
}

/** Starts a Redis. `end()` stops it and removes its data. */
export async function runRedis(...args: string[]): Promise<TestRedis & { end(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'rivulet-redis-'));
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  // The client speaks TLS as well as the server, and trusts any certificate.
  const tls = args.includes('--tls-cert-file');
  let server: ChildProcess | undefined;

  async function start(): Promise<void> {
    const ports = tls ? ['--port', '0', '--tls-port', `${port}`] : ['--port', `${port}`];
    const options = [...ports, '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
    const child = spawn(EXECUTABLE, [...options, ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    server = child;
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}`)));
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        if (text.includes('Ready to accept connections')) resolve();
      });
    });
  }

  async function stop(): Promise<void> {
    const child = server;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await ended;
  }

  await start();
  return {
    url,
    async end() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
    start,
    stop,
    signal: (name) => void server?.kill(name),
    async command(...command) {
      const client = createClient(
        tls
          ? {
              url: url.replace('redis:', 'rediss:'),
              socket: { tls: true, rejectUnauthorized: false },
            }
          : { url },
      );
      client.on('error', () => {});
      await client.connect();
      try {
        return await client.sendCommand(command);
      } finally {
        client.destroy();
      }
    },
  };
}
