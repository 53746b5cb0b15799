import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { serveFolder } from './serve-folder.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/** Packs a package as npm would publish it. @returns the path of the tarball in `folder`. */
export async function pack(name: string, folder: string): Promise<string> {
  const cwd = join(ROOT, 'packages', name);
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  return join(folder, filename);
}

/**
 * An app outside of this repository, which has the client as npm would give it: installed, checked
 * by TypeScript and built by Vite. Gives what serves it; it is removed when the test ends.
 */
export async function freshApp(
  files: Record<string, string>,
  versions: Record<string, string>,
): Promise<RequestListener> {
  const app = await mkdtemp(join(tmpdir(), 'rivulet-app-'));
  onTestFinished(() => rm(app, { recursive: true, force: true }));
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  await run(process.execPath, [tsc, '-b', 'packages/protocol', 'packages/client'], { cwd: ROOT });
  const dependencies = {
    '@rivulet/client': `file:${await pack('client', app)}`,
    '@rivulet/protocol': `file:${await pack('protocol', app)}`,
    ...versions,
  };
  const manifest = { name: 'app', private: true, type: 'module', dependencies };
  await writeFile(join(app, 'package.json'), JSON.stringify(manifest));
  for (const [name, text] of Object.entries(files)) await writeFile(join(app, name), text);
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: app });
  await run(process.execPath, [tsc, '-p', '.'], { cwd: app });
  await run(process.execPath, ['node_modules/vite/bin/vite.js', 'build'], { cwd: app });
  return serveFolder(join(app, 'dist'));
}
