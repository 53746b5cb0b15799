import { ensureChromium } from './debian.mjs';
import { ensureInstalled, run } from './install.mjs';

// Runs the tests of the AG-UI bridge with the components of CopilotKit. Their packages take 500 MB, so that they
// have a lock file of their own.
ensureInstalled();
ensureInstalled(new URL('../test/copilotkit/', import.meta.url));
run('npx', ['vitest', 'run', '--project', 'copilotkit', ...process.argv.slice(2)], {
  env: { ...process.env, CHROMIUM_PATH: ensureChromium() },
});
