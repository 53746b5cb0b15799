import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

// What a page pays for `{ createClient }` and all that it needs, and whether the README says so.
const MOST_KB = 28;
const root = new URL('../', import.meta.url);

const { outputFiles } = await build({
  stdin: {
    contents: "export { createClient } from '@rivulet/client';",
    resolveDir: new URL('demo/', root).pathname,
  },
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  conditions: ['@rivulet/source', 'production'],
});
const measured = (gzipSync(outputFiles[0].contents, { level: 9 }).length / 1024).toFixed(1);
const [, said] = /\*\*([\d.]+) KB\*\*/.exec(readFileSync(new URL('README.md', root), 'utf8')) ?? [];

if (Number(measured) > MOST_KB) fail(`it may be ${MOST_KB} KB at most: make it smaller`);
if (measured !== said) fail(`README.md says ${said} KB: correct it`);

function fail(what) {
  console.error(`rivulet: { createClient } is ${measured} KB with gzip; ${what}`);
  process.exit(1);
}
