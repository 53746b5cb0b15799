import { ensureChromium, ensureNginx, ensureRedis } from './debian.mjs';
import { ensureInstalled, run } from './install.mjs';

ensureInstalled();
const chromium = ensureChromium();
const redis = ensureRedis();
const nginx = ensureNginx();
run('npm', ['run', 'check', '--silent']);
run('npm', ['run', 'build', '--silent']);
run('node', ['scripts/packages.mjs']);
run(
  'npx',
  ['vitest', 'run', '--project', '!browsers', '--project', '!copilotkit', ...process.argv.slice(2)],
  {
    env: { ...process.env, CHROMIUM_PATH: chromium, REDIS_SERVER_PATH: redis, NGINX_PATH: nginx },
  },
);
