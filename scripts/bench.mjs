import { ensureInstalled, run } from './install.mjs';

ensureInstalled();
// What Rivulet is compared with has a lock file of its own, so that other commands need not install it.
ensureInstalled(new URL('../test/bench/', import.meta.url));
// The packages are measured as npm would publish them.
run('npm', ['run', 'build', '--silent']);
const { register } = await import('tsx/esm/api');
register();
await import('../test/bench/bench.ts');
