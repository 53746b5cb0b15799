import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const parentAtStart = process.ppid;
const root = new URL('../', import.meta.url);

/**
 * Runs `npm ci` in `folder` if it has no `node_modules`; warns if its packages are not those of its
 * package-lock.json.
 */
export function ensureInstalled(folder = root) {
  const path = relative(fileURLToPath(root), fileURLToPath(folder));
  if (!existsSync(new URL('node_modules', folder))) {
    console.log(
      `rivulet: installing the packages in ${join(path, 'package-lock.json')} (once; it takes about two minutes) …`,
    );
    // Under Node.js 20, npm would warn of each test package that asks for a newer one.
    run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
    // npm may have exited on a signal in the meantime, which this process then never gets.
    if (process.ppid !== parentAtStart) process.exit(143);
  } else if (isStale(folder)) {
    console.warn(
      `rivulet: ${join(path, 'node_modules')} does not match package-lock.json; run \`npm ci\` there`,
    );
  }
}

/** Compares versions with the record that npm keeps; a checkout changes the times of all files. */
function isStale(folder) {
  const record = new URL('node_modules/.package-lock.json', folder);
  if (!existsSync(record)) return true;
  const { packages: installed } = readJson(record);
  const { packages: locked } = readJson(new URL('package-lock.json', folder));
  return Object.entries(locked).some(
    ([path, { version, optional }]) =>
      path.startsWith('node_modules/') && !optional && installed[path]?.version !== version,
  );
}

function readJson(url) {
  return JSON.parse(readFileSync(url, 'utf8'));
}

/** Runs a command to its end with its output shown; a failure ends this process with its code. */
export function run(command, args, options = {}) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (status !== 0) process.exit(status ?? 1);
}
