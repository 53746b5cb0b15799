import { dirname } from 'node:path';
import { ensureChromium } from './debian.mjs';
import { ensureInstalled, run } from './install.mjs';
import { ensureNode } from './node.mjs';

// Installs the packages from their tarballs in fresh apps, as a user would, and asks a question in each. Takes
// the names of apps, or tests all.
ensureInstalled();
const env = {
  ...process.env,
  CHROMIUM_PATH: ensureChromium(),
  NODE_20_FOLDER: dirname(ensureNode('20.19').binary),
  NODE_24_FOLDER: dirname(ensureNode('24').binary),
};
run('npm', ['run', 'build', '--silent']);
run('node', ['--import', 'tsx', 'test/apps/apps.ts', ...process.argv.slice(2)], { env });
