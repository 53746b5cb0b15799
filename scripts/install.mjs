import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const root = new URL('../', import.meta.url);

/** Installs what package-lock.json names, unless it is installed already. */
export function ensureInstalled() {
  if (isInstalled()) return;
  console.log('rivulet: installing the packages in package-lock.json (once) …');
  // Not `npm ci`, which refuses a lock file without every other platform's optional binaries.
  run('npm', ['install', '--no-save', '--no-audit', '--no-fund']);
}

/**
 * npm writes what it installed to node_modules/.package-lock.json; times would not do, since a
 * checkout gives every file a new one.
 */
function isInstalled() {
  const installed = new URL('node_modules/.package-lock.json', root);
  if (!existsSync(installed)) return false;
  const { packages: wanted } = readJson(new URL('package-lock.json', root));
  const { packages: present } = readJson(installed);
  return Object.entries(wanted).every(([path, { version, optional, link }]) => {
    return (
      path === '' ||
      optional ||
      link ||
      !path.startsWith('node_modules') ||
      present[path]?.version === version
    );
  });
}

function readJson(url) {
  return JSON.parse(readFileSync(url, 'utf8'));
}

/** Runs a command to its end with its output shown; a failure ends this process with its code. */
export function run(command, args, options = {}) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (status !== 0) process.exit(status ?? 1);
}
