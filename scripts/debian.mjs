import { existsSync, readFileSync } from 'node:fs';
import { run } from './install.mjs';

/** The Chromium that the browser tests use; installed from Debian's packages where that can be done. */
export function ensureChromium() {
  return ensure('Chromium', 'chromium', 'CHROMIUM_PATH', '/usr/bin/chromium');
}

/** The redis-server that the tests over Redis use; installed in the same manner. */
export function ensureRedis() {
  return ensure('redis-server', 'redis-server', 'REDIS_SERVER_PATH', '/usr/bin/redis-server');
}

/** The nginx that the tests of a load balancer use. */
export function ensureNginx() {
  return ensure('nginx', 'nginx', 'NGINX_PATH', '/usr/sbin/nginx');
}

function ensure(name, debianPackage, variable, usualPath) {
  const path = process.env[variable] ?? usualPath;
  if (existsSync(path)) return path;
  if (process.env[variable] !== undefined || !isDebian() || process.getuid?.() !== 0) {
    console.error(
      `rivulet: unable to run the tests: there is no ${name} at ${path}.\n` +
        `Install it (Debian, Ubuntu: sudo apt-get install ${debianPackage}), or set ${variable} to the one you have.`,
    );
    process.exit(1);
  }
  console.log(`rivulet: installing ${debianPackage} from Debian (once) …`);
  run('apt-get', ['update', '-qq']);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', debianPackage]);
  return path;
}

function isDebian() {
  return (
    existsSync('/etc/os-release') &&
    /^ID(_LIKE)?=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'))
  );
}
