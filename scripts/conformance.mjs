import { ensureInstalled, run } from './install.mjs';

// The conformance suite, against the server whose URL is given, or our own.

ensureInstalled();
const [url, ...rest] = process.argv.slice(2);
run('npx', ['vitest', 'run', '--project', 'conformance', '--reporter', 'verbose', ...rest], {
  env: { ...process.env, ...(url !== undefined && { CONFORMANCE_URL: url }) },
});
