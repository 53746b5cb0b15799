import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

// Fails if `npm ci` would refuse a package-lock.json. Reads no registry.
for (const folder of ['', 'test/bench/', 'test/copilotkit/', 'docs/']) check(folder);

function check(folder) {
  const cwd = new URL(`../${folder}`, import.meta.url);
  const { packages } = JSON.parse(readFileSync(new URL('package-lock.json', cwd), 'utf8'));

  // npm can leave out the entries of other platforms' packages; npm 11 then refuses the lock, npm 10 does not.
  const missing = Object.entries(packages).flatMap(
    ([path, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !isLocked(packages, path, name))
        .map((name) => `${name} (a dependency of ${path})`),
  );
  if (missing.length > 0) fail(folder, `it has no entry for ${missing.join(', ')}`);

  const args = ['ci', '--dry-run', '--offline', '--no-audit', '--no-fund', '--loglevel', 'error'];
  const dryRun = spawnSync('npm', args, { cwd, encoding: 'utf8' });
  if (dryRun.status !== 0) {
    const [reasons] = dryRun.stderr.split('npm error Clean install a project');
    fail(folder, `\`npm ${args.join(' ')}\` fails:\n${reasons}`);
  }
}

/** @returns true if the lock has an entry for `name` in a `node_modules` that the package at `path` resolves from. */
function isLocked(packages, path, name) {
  const folders = path.split('/').map((_, i, parts) => `${parts.slice(0, i + 1).join('/')}/`);
  return ['', ...folders].some((folder) =>
    Object.hasOwn(packages, `${folder}node_modules/${name}`),
  );
}

function fail(folder, reason) {
  console.error(
    `rivulet: unable to install from ${folder}package-lock.json: ${reason}\n` +
      'Run `npm install --package-lock-only` in its folder, and commit it.',
  );
  process.exit(1);
}
