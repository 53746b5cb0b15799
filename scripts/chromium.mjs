import { existsSync, readFileSync } from 'node:fs';
import { run } from './install.mjs';

/** The Chromium that the browser tests use; installed from Debian's packages where that can be done. */
export function ensureChromium() {
  const path = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
  if (existsSync(path)) return path;
  if (process.env.CHROMIUM_PATH !== undefined || !isDebian() || process.getuid?.() !== 0) {
    console.error(
      `rivulet: unable to run the browser tests: there is no Chromium at ${path}.\n` +
        'Install it (Debian, Ubuntu: sudo apt-get install chromium), or set CHROMIUM_PATH to the one you have.',
    );
    process.exit(1);
  }
  console.log('rivulet: installing chromium from Debian (once) …');
  run('apt-get', ['update', '-qq']);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium']);
  return path;
}

function isDebian() {
  return (
    existsSync('/etc/os-release') &&
    /^ID(_LIKE)?=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'))
  );
}
