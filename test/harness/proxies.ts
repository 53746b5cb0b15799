import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { freePort } from './free-port.js';

const NGINX = process.env['NGINX_PATH'] ?? '/usr/sbin/nginx';
const HAPROXY = process.env['HAPROXY_PATH'] ?? '/usr/sbin/haproxy';
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/** @returns the code of all blocks of a page of the documentation that have this language. */
export function codeIn(page: string, language: string): string[] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```(\S*)\n(.*?)^```$/gms)]
    .filter(([, each]) => each === language)
    .map(([, , code = '']) => code);
}

/**
 * Starts nginx, until the test ends.
 *
 * @param site what `http` has in the documentation: it listens on port 80 or 443, in place of which it has a
 * port of its own here.
 * @param replaced texts of `site`, such as addresses and paths, and what is there instead.
 * @returns the address, such as `127.0.0.1:34567`.
 */
export async function startNginx(site: string, replaced: Record<string, string>): Promise<string> {
  const folder = temporaryFolder('nginx');
  const port = await freePort();
  const text = replaceAll(site.replace(/listen (80|443)/, `listen 127.0.0.1:${port}`), replaced);
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
  types { text/html html; text/javascript js; }
  ${TEMPORARY.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  ${text}
}
`,
  );
  await startProxy(NGINX, ['-e', `${folder}/error.log`, '-p', folder, '-c', file], port);
  return `127.0.0.1:${port}`;
}

/** Starts HAProxy in the same manner. Its configuration listens on port 443. */
export async function startHaproxy(
  configuration: string,
  replaced: Record<string, string>,
): Promise<string> {
  const folder = temporaryFolder('haproxy');
  const port = await freePort();
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(
    file,
    replaceAll(configuration.replace('bind :443', `bind 127.0.0.1:${port}`), replaced),
  );
  await startProxy(HAPROXY, ['-db', '-f', file], port);
  return `127.0.0.1:${port}`;
}

function replaceAll(text: string, replaced: Record<string, string>): string {
  let result = text;
  for (const [from, to] of Object.entries(replaced)) {
    if (!result.includes(from)) throw new Error(`the configuration does not have ${from}`);
    result = result.replaceAll(from, to);
  }
  return result;
}

function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `rivulet-${name}-`));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Resolves once it accepts connections on `port`. */
async function startProxy(command: string, args: string[], port: number): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const failed = once(child, 'error').then(([error]) => Promise.reject(error as Error));
  onTestFinished(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
  const ready = vi.waitFor(async () => {
    if (child.exitCode !== null) throw new Error(`unable to start ${command}: ${output}`);
    await accepts(port);
  }, 10_000);
  await Promise.race([ready, failed]);
}

async function accepts(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect').finally(() => socket.destroy());
}
