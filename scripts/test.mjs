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
// `test:browsers` and `test:copilotkit` run the other projects.
const projects = ['node', 'conformance', 'redis', 'conformance-redis', 'page', 'browser'];
const selected = projects.flatMap((name) => ['--project', name]);
run('npx', ['vitest', 'run', ...selected, ...process.argv.slice(2)], {
  env: {
    ...process.env,
    CHROMIUM_PATH: chromium,
    REDIS_SERVER_PATH: redis,
    NGINX_PATH: nginx,
    HAPROXY_PATH: haproxy,
  },
});
