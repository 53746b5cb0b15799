import { spawnSync } from 'node:child_process';

// Checks the packages as npm would publish them, once they are built: the entries resolve, their types are those
// of the code, and each package has a license and a README.
const root = new URL('../', import.meta.url);
const looks = [
  ['publint', '--strict'],
  // `node16` leaves out the resolution of Node.js 10, which knows no `exports`. A CommonJS module gets an ES module,
  // which `require()` loads in each Node.js that we support.
  ['attw', '--ignore-rules', 'cjs-resolves-to-esm', '--profile', 'node16', '--pack'],
];
for (const name of ['protocol', 'client', 'server']) {
  const files = packedFiles(name);
  const missing = ['LICENSE', 'README.md'].filter((document) => !files.includes(document));
  if (missing.length > 0) {
    console.error(`rivulet: the tarball of packages/${name} has no ${missing.join(' and no ')}`);
    process.exit(1);
  }
  if (name === 'server' && !files.includes('dist/redis/scripts/append.lua')) {
    console.error('rivulet: the tarball of packages/server has no scripts for Redis');
    process.exit(1);
  }
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

/** @returns the paths in the tarball that `npm pack` makes of a package. */
function packedFiles(name) {
  const args = ['pack', '--dry-run', '--json', '--loglevel', 'error'];
  const { status, stdout, stderr } = spawnSync('npm', args, {
    cwd: new URL(`packages/${name}/`, root),
    encoding: 'utf8',
  });
  if (status !== 0) {
    console.error(stderr);
    process.exit(1);
  }
  const [{ files }] = JSON.parse(stdout);
  return files.map(({ path }) => path);
}
