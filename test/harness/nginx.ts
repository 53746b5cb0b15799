import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';

const EXECUTABLE = process.env['NGINX_PATH'] ?? '/usr/sbin/nginx';
const PATHS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/**
 * Starts nginx before servers, until the test ends.
 *
 * @param site what `http` has in the documentation: it listens on port 80, and its servers are on 127.0.0.1
 * from port 3001 on. The test has ports of its own.
 * @returns its URL.
 */
export async function startNginx(site: string, urls: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'rivulet-nginx-'));
  const port = await freePort();
  const ours = urls.reduce(
    (text, url, i) => text.replace(`127.0.0.1:${3001 + i};`, `127.0.0.1:${new URL(url).port};`),
    site.replace(/listen 80;/, `listen 127.0.0.1:${port};`),
  );
  const file = join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events {}
http {
  access_log off;
  ${PATHS.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  ${ours}
}
`,
  );
  const child = spawn(EXECUTABLE, ['-e', `${folder}/error.log`, '-p', folder, '-c', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const failed = once(child, 'error').then(([error]) => Promise.reject(error as Error));
  onTestFinished(async () => {
    if (child.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  const ready = vi.waitFor(async () => {
    if (child.exitCode !== null) throw new Error(`unable to start nginx: ${output}`);
    await fetch(`${url}/healthz`);
  }, 10_000);
  await Promise.race([ready, failed]);
  return url;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
