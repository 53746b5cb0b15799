import { ensureInstalled, run } from './install.mjs';

ensureInstalled();
// The stacks that Rivulet is compared with have a lock file of their own, so that other commands need not
// install them.
ensureInstalled(new URL('../test/bench/', import.meta.url));
// The packages are measured as npm would publish them.
run('npm', ['run', 'build', '--silent']);
const { register } = await import('tsx/esm/api');
register();
await import('../test/bench/bench.ts');
