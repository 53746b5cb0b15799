import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url);

/** Prints the functions that an import calls and the globals that it defines. */
const WATCH = `
  // engine.io-client reads globalThis.WebSocket when it is imported, and since Node 22 the first read loads Node's
  // own undici, which defines two symbols. It costs tens of milliseconds and 4 MB, once, as a first fetch would.
  void globalThis.WebSocket;
  const [framework, entry] = process.argv.slice(1);
  if (framework) await import(framework);
  const called = [];
  for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'fetch']) {
    const real = globalThis[name];
    globalThis[name] = (...args) => { called.push(name); return real(...args); };
  }
  const on = process.on;
  process.on = function (event, ...rest) { called.push(event); return on.call(this, event, ...rest); };
  const known = new Set(Reflect.ownKeys(globalThis));
  await import(entry);
  const defined = Reflect.ownKeys(globalThis).filter((key) => !known.has(key)).map(String);
  console.log(JSON.stringify({ called, defined }));
`;

// The side effects of a framework's own import are not tested.
const FRAMEWORKS: Record<string, string> = {
  './react': 'react',
  './vue': 'vue',
  './svelte': '',
  './angular': '@angular/core',
  './solid': 'solid-js',
  './ai-sdk': '',
  './tanstack-ai': '',
  './ag-ui': '@ag-ui/client',
  './testing': 'rxjs',
};

const { exports } = JSON.parse(
  readFileSync(new URL('packages/client/package.json', ROOT), 'utf8'),
) as { exports: object };

it.each(Object.keys(exports))('importing %s of the client in Node does nothing', async (entry) => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      '--conditions=@rivulet/source',
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      WATCH,
      '--',
      FRAMEWORKS[entry] ?? '',
      `@rivulet/client${entry.slice(1)}`,
    ],
    // The cache of tsx calls `setImmediate` in this process when it stores a file.
    { cwd: ROOT, timeout: 20_000, env: { ...process.env, TSX_DISABLE_CACHE: '1' } },
  );
  // The process exits by itself if no timer or socket keeps it alive.
  expect(JSON.parse(stdout)).toEqual({ called: [], defined: [] });
});
