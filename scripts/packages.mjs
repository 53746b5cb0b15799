import { run } from './install.mjs';

// What npm would publish, once it is built: its entries resolve, and their types are those of the code.
for (const name of ['protocol', 'client', 'server']) {
  const path = `packages/${name}`;
  run('node_modules/.bin/publint', ['--strict', path], { stdio: ['ignore', 'ignore', 'inherit'] });
  run('node_modules/.bin/attw', ['--quiet', '--pack', '--profile', 'esm-only', path]);
}
