import { spawnSync } from 'node:child_process';
import { delimiter, dirname } from 'node:path';
import { ensureInstalled } from './install.mjs';
import { ensureNode } from './node.mjs';

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
