import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sirv from 'sirv';

const run = promisify(execFile);
const TYPESCRIPT = ['--import', 'tsx'];
const REPOSITORY = join(import.meta.dirname, '..');
/** All that the pages are built from. */
const SOURCES = ['demo', 'packages/client/src', 'packages/protocol/src', 'package-lock.json'];
const NO_SOURCES = /^demo\/(dist|node_modules)\//;
const BUILDS = join(import.meta.dirname, 'dist');
/** A server that was started earlier may serve an older build. */
const KEPT_BUILDS = 5;

export interface BuiltPagesOptions {
  /** Builds the page with "Try to break it"; without it unless given. */
  hasLab?: boolean;
}

/**
 * Serves the demo page and the examples as they are built for production. They are built again after a
 * change of their sources.
 */
export async function openBuiltPages({
  hasLab = false,
}: BuiltPagesOptions = {}): Promise<RequestListener> {
  const folder = join(BUILDS, `${await digestOfSources()}${hasLab ? '-lab' : ''}`);
  if (!existsSync(folder)) {
    console.log('rivulet: building the page (once after each change) …');
    await buildInto(folder, hasLab);
  }
  const serve = sirv(folder, {
    etag: true,
    setHeaders(response, path) {
      const isHashed = path.startsWith('/assets/');
      const caching = isHashed ? 'public, max-age=31536000, immutable' : 'no-cache';
      response.setHeader('cache-control', caching);
    },
  });
  return (request, response) => serve(request, response, () => notFound(request, response));
}

async function digestOfSources(): Promise<string> {
  const hash = createHash('sha256');
  for (const source of SOURCES) {
    for (const path of await filesOf(source)) {
      hash.update(`${path}\n`).update(await readFile(join(REPOSITORY, path)));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** @returns the paths of the files below `source`, or its own, in order. */
async function filesOf(source: string): Promise<string[]> {
  const path = join(REPOSITORY, source);
  if ((await stat(path)).isFile()) return [source];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(REPOSITORY.length + 1))
    .filter((file) => !NO_SOURCES.test(file))
    .sort();
}

/**
 * Builds in a process of its own, whose memory the server would keep. Of servers that start at the same time
 * and build the same, the first one's build stays.
 */
async function buildInto(folder: string, hasLab: boolean): Promise<void> {
  const own = `${folder}.${process.pid}`;
  await mkdir(BUILDS, { recursive: true });
  try {
    await run(
      process.execPath,
      [...TYPESCRIPT, join(import.meta.dirname, 'build.ts'), own, ...(hasLab ? ['--lab'] : [])],
      {
        // A test runner sets `test`, and React's development version would be built.
        env: { ...process.env, NODE_ENV: 'production' },
      },
    );
    await rename(own, folder);
  } catch (error) {
    await rm(own, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  await removeOldBuilds();
}

async function removeOldBuilds(): Promise<void> {
  const names = await readdir(BUILDS);
  const builds = await Promise.all(
    names.map(async (name) => ({ name, builtAt: (await stat(join(BUILDS, name))).mtimeMs })),
  );
  const old = builds.sort((a, b) => b.builtAt - a.builtAt).slice(KEPT_BUILDS);
  await Promise.all(
    old.map(({ name }) => rm(join(BUILDS, name), { recursive: true, force: true })),
  );
}

const notFound: RequestListener = (_, response) => {
  response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('not found\n');
};
