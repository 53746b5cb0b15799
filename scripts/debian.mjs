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

/** Firefox, and WebKitGTK with its driver and a virtual display, for `npm run test:browsers`. */
export function ensureFirefoxAndWebKit() {
  ensure('Firefox', 'firefox-esr', 'FIREFOX_PATH', '/usr/bin/firefox-esr');
  ensure('WebKit', 'webkit2gtk-driver', 'WEBKIT_DRIVER_PATH', '/usr/bin/WebKitWebDriver');
  ensure('xvfb-run', 'xvfb xauth', 'XVFB_RUN_PATH', '/usr/bin/xvfb-run');
}

/** The nginx that the tests of a load balancer use. */
export function ensureNginx() {
  return ensure('nginx', 'nginx', 'NGINX_PATH', '/usr/sbin/nginx');
}

/** The HAProxy that the tests of a deployment use. */
export function ensureHaproxy() {
  return ensure('HAProxy', 'haproxy', 'HAPROXY_PATH', '/usr/sbin/haproxy');
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
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...debianPackage.split(' ')]);
  return path;
}

function isDebian() {
  return (
    existsSync('/etc/os-release') &&
    /^ID(_LIKE)?=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'))
  );
}
