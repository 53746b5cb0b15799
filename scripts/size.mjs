import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = new URL('../', import.meta.url);
const OPTIONS = {
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  conditions: ['@rivulet/source', 'production'],
};

// The sizes of the client and all that it needs at first; fails if the README gives others.
const MOST_CLIENT_KB = 28;
const readme = readFileSync(new URL('README.md', root), 'utf8');
const CLIENT = "export { createClient } from '@rivulet/client';";
const clientKb = await clientKbOf(CLIENT);
if (Number(clientKb) > MOST_CLIENT_KB) {
  fail(`{ createClient } is ${clientKb} KB with gzip; make it ${MOST_CLIENT_KB} KB or smaller`);
}
compare('{ createClient }', clientKb, /\*\*([\d.]+) KB\*\*/);
const hookKb = await clientKbOf(`${CLIENT} export { useAnswer } from '@rivulet/client/react';`);
compare('{ createClient, useAnswer }', hookKb, /([\d.]+) KB with `useAnswer`/);

// The size that each bridge adds to that, without the packages of its UI; fails if docs/bridges.md gives another size.
const BRIDGES = { 'ai-sdk': 'AI SDK', 'tanstack-ai': 'TanStack AI', 'ag-ui': 'AG-UI' };
const bridgesPage = readFileSync(new URL('docs/bridges.md', root), 'utf8');
for (const [name, title] of Object.entries(BRIDGES)) {
  const withBridge = await clientKbOf(`${CLIENT} export * from '@rivulet/client/${name}';`);
  const adds = `${(Number(withBridge) - Number(clientKb)).toFixed(1)} KB (${title})`;
  if (!bridgesPage.includes(adds)) {
    fail(`a bridge adds ${adds} with gzip; docs/bridges.md says another size: correct it`);
  }
}

// The scripts that the demo page loads at first, and not those that it loads when it needs them.
const MOST_DEMO_KB = 170;
const entry = 'demo/src/main.ts';
const { outputFiles: chunks, metafile } = await build({
  ...OPTIONS,
  absWorkingDir: root.pathname,
  entryPoints: [entry],
  outdir: 'demo/dist/size',
  splitting: true,
  metafile: true,
  define: { 'import.meta.env': '{}' },
  loader: { '.woff': 'empty', '.woff2': 'empty', '.ttf': 'empty' },
});
const demoKb = kbAtFirst(chunks, metafile, entry);
if (Number(demoKb) > MOST_DEMO_KB) {
  fail(
    `the demo page loads ${demoKb} KB of script with gzip; make it ${MOST_DEMO_KB} KB or smaller`,
  );
}

/** The size of the client's part of a page that has its framework. */
async function clientKbOf(contents) {
  const { outputFiles, metafile: files } = await build({
    ...OPTIONS,
    external: ['react', '@ag-ui/client'],
    // Modules that are imported when they are first used are files of their own.
    outdir: 'size',
    splitting: true,
    metafile: true,
    stdin: { contents, resolveDir: new URL('demo/', root).pathname },
  });
  return kbAtFirst(outputFiles, files, '<stdin>');
}

function compare(what, kb, figure) {
  const [, documented] = figure.exec(readme) ?? [];
  if (kb === documented) return;
  fail(`${what} is ${kb} KB with gzip; README.md says ${documented} KB: correct it`);
}

/** The size of the files that a page loads at first. */
function kbAtFirst(files, { outputs }, entryPoint) {
  return [...firstChunks(outputs, entryPoint)]
    .map((path) => files.find((file) => file.path.endsWith(path)))
    .reduce((sum, file) => sum + Number(gzipKb(file)), 0)
    .toFixed(1);
}

/** The chunk of the entry, and those that it imports statically, directly or not. */
function firstChunks(outputs, entryPoint) {
  const first = Object.keys(outputs).find((path) => outputs[path].entryPoint === entryPoint);
  const found = new Set([first]);
  // The iteration over a set includes values that are added meanwhile.
  for (const path of found) {
    for (const imported of outputs[path].imports) {
      if (imported.kind === 'import-statement' && !imported.external) found.add(imported.path);
    }
  }
  return found;
}

function gzipKb({ contents }) {
  return (gzipSync(contents, { level: 9 }).length / 1024).toFixed(1);
}

function fail(what) {
  console.error(`rivulet: ${what}`);
  process.exit(1);
}
