import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run } from './install.mjs';
import { listProblems } from './release-problems.mjs';

// Checks, builds and packs the packages. The tarballs, an SBOM of the production dependencies of each and their
// checksums are written to `release/`. `.github/workflows/release.yml` publishes them; `--dry-run` also packs what
// it would refuse to publish.
const isDryRun = process.argv.includes('--dry-run');
const root = new URL('../', import.meta.url);
const folder = new URL('release/', root);
// In the order of their dependencies.
const names = ['protocol', 'server', 'client'];
const manifests = names.map((name) => readJson(`packages/${name}/package.json`));

const { refusals, missing } = listProblems({
  isDryRun,
  env: process.env,
  changedFiles: output('git', ['status', '--porcelain']),
  isOnMain: isOnMain(),
  manifests,
  changelog: readFileSync(new URL('CHANGELOG.md', root), 'utf8'),
});
for (const reason of missing) console.warn(`rivulet: before it can be published: ${reason}`);
if (refusals.length > 0) {
  for (const reason of refusals) console.error(`rivulet: unable to release: ${reason}`);
  process.exit(1);
}

run('npm', ['run', 'check', '--silent']);
run('npm', ['run', 'build', '--silent']);
run('node', ['scripts/packages.mjs']);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const workspaces = names.flatMap((name) => ['-w', `packages/${name}`]);
const packed = JSON.parse(
  output('npm', ['pack', ...workspaces, '--json', '--pack-destination', fileURLToPath(folder)]),
);
for (const { name, version, filename, size, unpackedSize, files, integrity } of packed) {
  const sbom = writeSbom(name);
  console.log(
    [
      `${name} ${version}`,
      `  tarball    release/${filename}, ${kb(size)} KB (${kb(unpackedSize)} KB unpacked)`,
      `  integrity  ${integrity}`,
      `  sbom       release/${sbom.filename}, ${sbom.components} production dependencies`,
      `  files      ${files.length}: ${countByFolder(files)}`,
    ].join('\n'),
  );
}
// Written last, because it is no part of itself.
const sums = readdirSync(folder).map((name) => `${sha256(name)}  ${name}\n`);
writeFileSync(new URL('SHA256SUMS', folder), sums.join(''));
if (isDryRun) console.log('rivulet: nothing was published (--dry-run)');

/** Writes what a user gets with a package, resolved as npm would today, in the format CycloneDX. */
function writeSbom(name) {
  const { devDependencies: _, ...manifest } = manifests.find((found) => found.name === name);
  // The registry has no protocol of this version before the release.
  const protocol = packed.find((found) => found.name === '@rivulet/protocol');
  const dependencies = { ...manifest.dependencies };
  if (protocol.name in dependencies)
    dependencies[protocol.name] = `file:../../../${protocol.filename}`;
  // npm takes the name of the package from its folder.
  const work = new URL(`sbom/${name}/`, folder);
  mkdirSync(work, { recursive: true });
  writeFileSync(new URL('package.json', work), JSON.stringify({ ...manifest, dependencies }));
  const options = ['--package-lock-only', '--omit', 'dev', '--ignore-scripts'];
  output('npm', ['install', ...options, '--no-audit', '--no-fund'], work);
  const sbom = output('npm', ['sbom', ...options, '--sbom-format', 'cyclonedx'], work);
  rmSync(new URL('sbom/', folder), { recursive: true });
  const filename = `${name.replace('@', '').replace('/', '-')}-${manifest.version}.cdx.json`;
  writeFileSync(new URL(filename, folder), sbom);
  return { filename, components: JSON.parse(sbom).components.length };
}

function isOnMain() {
  const args = ['merge-base', '--is-ancestor', 'HEAD', 'origin/main'];
  return spawnSync('git', args, { cwd: root }).status === 0;
}

function sha256(name) {
  return createHash('sha256')
    .update(readFileSync(new URL(name, folder)))
    .digest('hex');
}

/** @returns such as `dist 340, src 92, package.json 1`. */
function countByFolder(files) {
  const counts = new Map();
  for (const { path } of files) {
    const [first] = path.split('/');
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  return [...counts].map(([first, count]) => `${first} ${count}`).join(', ');
}

function kb(bytes) {
  return (bytes / 1024).toFixed(1);
}

function readJson(path) {
  return JSON.parse(readFileSync(new URL(path, root), 'utf8'));
}

/** @returns the stdout of a command; its failure ends this process. */
function output(command, args, cwd = root) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1e8,
  });
  if (status === 0) return stdout;
  console.error(stdout + stderr);
  process.exit(status ?? 1);
}
