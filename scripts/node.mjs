import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run } from './install.mjs';

/**
 * Installs a Node once, in node_modules/.cache. The package `node` has no binary of its own: an install script
 * fetches the platform's package, and npm 11 does not run it. So this installs the platform's package.
 */
export function ensureNode(range) {
  const { platform, arch } = process;
  const isAppleSilicon = platform === 'darwin' && arch === 'arm64';
  const name = `${isAppleSilicon ? 'node-bin' : 'node'}-${platform}-${arch}`;
  const folder = fileURLToPath(
    new URL(`../node_modules/.cache/rivulet-node/${range}`, import.meta.url),
  );
  const binary = `${folder}/node_modules/${name}/bin/node`;
  if (versionOf(binary) === undefined) {
    console.log(`rivulet: installing Node ${range} in node_modules/.cache (once) …`);
    rmSync(folder, { recursive: true, force: true });
    const options = [
      '--no-save',
      '--no-package-lock',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
    ];
    run('npm', ['install', '--prefix', folder, ...options, `${name}@${range}`]);
  }
  return { binary, version: versionOf(binary) };
}

function versionOf(binary) {
  const { status, stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim().slice(1) : undefined;
}
