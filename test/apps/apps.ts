import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import type { Browser } from 'playwright';
import { table } from '../bench/report/table.js';
import { startChild } from '../harness/child.js';
import { launchChromium } from '../harness/chromium.js';
import { serveFolder } from '../harness/serve-folder.js';
import { type Installed, installApp, nodeFolder, packAll } from './install.js';
import { type App, APPS } from './list.js';
import { visit } from './visit.js';
import { freePort } from '../harness/free-port.js';

// `npm run test:apps`: fresh apps that install the packages from their tarballs.

const names = process.argv.slice(2);
const chosen = APPS.filter(({ name }) => names.length === 0 || names.includes(name));
const unknown = names.filter((name) => !APPS.some((app) => app.name === name));
if (unknown.length > 0 || chosen.length === 0) {
  console.error(
    `apps: there is no ${unknown.join(', ')}; choose of ${APPS.map((app) => app.name).join(', ')}`,
  );
  process.exit(1);
}

const root = await mkdtemp(join(tmpdir(), 'rivulet-apps-'));
const tarballs = await packAll(join(root, 'tarballs'));
const serverFolder = join(root, 'server');
await installApp({ name: 'server', node: '20' }, serverFolder, tarballs, '');
const browser = await launchChromium();
const rows: string[][] = [];
const failures: string[] = [];
for (const app of chosen) {
  const startedAt = performance.now();
  console.log(`apps: ${app.name} …`);
  try {
    rows.push(await testApp(app, browser));
  } catch (error) {
    failures.push(app.name);
    console.error(`apps: ${app.name} FAILED: ${String(error)}`);
    rows.push([app.name, 'FAILED', `Node ${app.node}`, '', '', '', '']);
  }
  console.log(`apps: ${app.name} took ${seconds(startedAt)} s`);
}
await browser.close();
await rm(root, { recursive: true, force: true });
console.log(
  table(
    ['app', 'version', 'Node', 'install s', 'build or test s', 'first text ms', 'client KB (gzip)'],
    rows,
  ),
);
if (failures.length > 0) console.error(`apps: failed: ${failures.join(', ')}`);
process.exit(failures.length === 0 ? 0 : 1);

/** @returns its row of the report. */
async function testApp(app: App, inBrowser: Browser): Promise<string[]> {
  // A server for each app, since a server keeps the answers to questions that others ask again.
  const rivulet = await startChild(join(nodeFolder('20'), 'node'), ['server.js'], {
    cwd: serverFolder,
    ready: /^(http:\S+)$/,
  });
  const serverUrl = rivulet.match[1]!;
  try {
    const installing = performance.now();
    const installed = await installApp(app, join(root, app.name), tarballs, serverUrl);
    const installSeconds = seconds(installing);
    const running = performance.now();
    await installed.run(app.script);
    const row = [
      app.name,
      `${app.framework} ${await installed.versionOf(app.framework)}`,
      app.node,
      installSeconds,
      seconds(running),
    ];
    if (app.serve === undefined) return [...row, '', ''];

    const page = await serve(app.serve, installed);
    try {
      const firstTextMs = await visit(inBrowser, page.url, serverUrl, 'script' in app.serve);
      const asked = rivulet.output().match(/^asked$/gm)?.length;
      assert.equal(asked, 1, 'the model was not asked once');
      return [...row, firstTextMs.toFixed(0), await clientKb(installed, app.binding!)];
    } finally {
      await page.close();
    }
  } finally {
    await rivulet.stop();
  }
}

async function serve(
  how: NonNullable<App['serve']>,
  { folder, env }: Installed,
): Promise<{ url: string; close: () => Promise<unknown> }> {
  if ('folder' in how) {
    const server = createServer(serveFolder(join(folder, how.folder))).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return {
      url: `http://127.0.0.1:${port}/`,
      close: async () => {
        server.closeAllConnections();
        server.close();
      },
    };
  }
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  // The shell says when it has started, since not every framework prints a line when it listens.
  const child = await startChild('sh', ['-c', `echo started; exec npm run ${how.script}`], {
    cwd: folder,
    env: { ...env, PORT: String(port), HOST: '127.0.0.1', HOSTNAME: '127.0.0.1' },
    ready: /^started/,
    group: true,
  });
  const deadline = Date.now() + 60_000;
  for (;;) {
    const isUp = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isUp) return { url, close: () => child.stop() };
    if (Date.now() > deadline) {
      await child.stop();
      throw new Error(`the app does not answer at ${url}:\n${child.output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The size that `createClient` and the binding add to a page that has its framework: with RxJS and the files that are loaded later. */
async function clientKb(
  { folder }: Installed,
  binding: NonNullable<App['binding']>,
): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { createClient } from '@rivulet/client'; export { ${binding.name} } from '${binding.from}';`,
      resolveDir: folder,
    },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    external: ['react', 'vue', 'svelte', '@angular/core', 'solid-js'],
  });
  return (gzipSync(outputFiles[0]!.contents, { level: 9 }).length / 1024).toFixed(1);
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
