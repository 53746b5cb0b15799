import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureInstalled, run } from './install.mjs';

// Runs the tests that need no browser on each Node version that is given, or on all that we support.
ensureInstalled();
const FLOOR = '20.19';
const majors = process.argv.length > 2 ? process.argv.slice(2) : ['20', '22', '24', '26'];

const results = majors.map((major) => {
  const { binary, version } = ensureNode(major === '20' ? FLOOR : major);
  console.log(`rivulet: running the Node suites on Node ${version} …`);
  const startedAt = performance.now();
  const { status } = runTests(binary);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  return { passed: status === 0, line: `Node ${version} (${seconds} s)` };
});
for (const { passed, line } of results) console.log(`${passed ? 'passed' : 'FAILED'}  ${line}`);
process.exit(results.every(({ passed }) => passed) ? 0 : 1);

/**
 * Installs a Node once, in node_modules/.cache. The package `node` has no binary of its own: an install script
 * fetches the platform's package, and npm 11 does not run it. So this installs the platform's package.
 */
function ensureNode(range) {
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

/** Child processes of the tests find the same Node, by `process.execPath` or in PATH. */
function runTests(binary) {
  const PATH = [dirname(binary), process.env.PATH].join(delimiter);
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--project',
    'node',
    '--project',
    'conformance',
  ];
  return spawnSync(binary, args, {
    cwd: new URL('../', import.meta.url),
    stdio: 'inherit',
    env: { ...process.env, PATH },
  });
}
