import { ensureChromium, ensureFirefoxAndWebKit } from './debian.mjs';
import { ensureInstalled, run } from './install.mjs';

// Runs the tests of the SDK and the demo in Chromium, Firefox and WebKit, and the SDK's browser suite in Firefox.
ensureInstalled();
const env = { ...process.env, CHROMIUM_PATH: ensureChromium() };
ensureFirefoxAndWebKit();
run('npx', ['vitest', 'run', '--project', 'browsers', ...process.argv.slice(2)], { env });
run('npx', ['vitest', 'run', '--project', 'browser'], { env: { ...env, BROWSER: 'firefox' } });
