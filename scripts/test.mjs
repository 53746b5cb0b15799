import { ensureChromium, ensureHaproxy, ensureNginx, ensureRedis } from './debian.mjs';
import { ensureInstalled, run } from './install.mjs';

ensureInstalled();
const chromium = ensureChromium();
const redis = ensureRedis();
const nginx = ensureNginx();
const haproxy = ensureHaproxy();
run('npm', ['run', 'check', '--silent']);
run('npm', ['run', 'build', '--silent']);
run('node', ['scripts/packages.mjs']);
const projects = ['--project', '!browsers', '--project', '!copilotkit'];
run('npx', ['vitest', 'run', ...projects, ...process.argv.slice(2)], {
  env: {
    ...process.env,
    CHROMIUM_PATH: chromium,
    REDIS_SERVER_PATH: redis,
    NGINX_PATH: nginx,
    HAPROXY_PATH: haproxy,
  },
});
