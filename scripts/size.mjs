import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

// What a page pays for `{ createClient }` and all that it needs, and whether the README says so.
const MOST_KB = 28;
const root = new URL('../', import.meta.url);

const { outputFiles, metafile } = await build({
  stdin: {
    contents: "export { createClient } from '@rivulet/client';",
    resolveDir: new URL('demo/', root).pathname,
  },
  bundle: true,
  minify: true,
  write: false,
  // What is imported when it is first used is a file of its own.
  splitting: true,
  outdir: 'out',
  metafile: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  conditions: ['@rivulet/source', 'production'],
});
const parts = loadedAtOnce(metafile.outputs);
const contents = outputFiles.filter(({ path }) => parts.has(path.split('/').at(-1)));
const bytes = contents.map((file) => gzipSync(file.contents, { level: 9 }).length);
const measured = (bytes.reduce((sum, size) => sum + size, 0) / 1024).toFixed(1);
const [, said] = /\*\*([\d.]+) KB\*\*/.exec(readFileSync(new URL('README.md', root), 'utf8')) ?? [];

if (Number(measured) > MOST_KB) fail(`it may be ${MOST_KB} KB at most: make it smaller`);
if (measured !== said) fail(`README.md says ${said} KB: correct it`);

/** @returns the names of the entry's file, and of all files that it imports statically. */
function loadedAtOnce(outputs) {
  const names = new Set();
  const add = (path) => {
    if (names.has(path)) return;
    names.add(path);
    for (const { path: next, kind } of outputs[path].imports)
      if (kind === 'import-statement') add(next);
  };
  add(Object.keys(outputs).find((path) => outputs[path].entryPoint === '<stdin>'));
  return new Set([...names].map((path) => path.split('/').at(-1)));
}

function fail(what) {
  console.error(`rivulet: { createClient } is ${measured} KB with gzip; ${what}`);
  process.exit(1);
}
