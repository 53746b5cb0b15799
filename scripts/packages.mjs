import { spawnSync } from 'node:child_process';

// What npm would publish, once it is built: its entries resolve, and their types are those of the code.
const root = new URL('../', import.meta.url);
const looks = [
  ['publint', '--strict'],
  ['attw', '--pack', '--profile', 'esm-only'],
];
for (const name of ['protocol', 'client', 'server']) {
  for (const [tool, ...options] of looks) {
    const found = spawnSync(`node_modules/.bin/${tool}`, [...options, `packages/${name}`], {
      cwd: root,
      encoding: 'utf8',
    });
    if (found.status === 0) continue;
    console.error(found.stdout + found.stderr);
    process.exit(found.status ?? 1);
  }
}
