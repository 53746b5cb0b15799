import { ensureChromium } from './chromium.mjs';
import { ensureInstalled, run } from './install.mjs';

ensureInstalled();
const chromium = ensureChromium();
run('npm', ['run', 'check', '--silent']);
run('npm', ['run', 'build', '--silent']);
run('node', ['scripts/packages.mjs']);
run('npx', ['vitest', 'run', ...process.argv.slice(2)], {
  env: { ...process.env, CHROMIUM_PATH: chromium },
});
