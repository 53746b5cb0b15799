import { existsSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { playwright } from '@vitest/browser-playwright';
import { defaultClientConditions, defaultServerConditions } from 'vite';
import { defineConfig } from 'vitest/config';
import { FIREFOX_PATH } from './test/harness/browsers.js';
import { CHROMIUM_ARGS, CHROMIUM_PATH } from './test/harness/chromium.js';

const root = import.meta.dirname;

/** The tests that also run where streams are kept in Redis. */
const REDIS_TESTS = [
  'active',
  'client',
  'cold-stream',
  'continue',
  'detach',
  'forget',
  'handles',
  'handover',
  'live',
  'queued',
  'rate-limited',
  'seed-client',
  'single-flight',
  'streams',
  'takeover',
  'thoughts',
  'tool-calls',
  'tool-client',
].map((name) => `test/behaviour/${name}.test.ts`);
for (const file of REDIS_TESTS)
  if (!existsSync(`${root}/${file}`))
    throw new Error(`vite.config.ts names ${file}, which is missing`);
const source = '@rivulet/source';
// Node does not know the condition `module`, behind which some packages keep what only bundlers can read.
const nodeConditions = defaultServerConditions.filter((condition) => condition !== 'module');

/** The browser of the project `browser`. */
const browser = process.env['BROWSER'] === 'firefox' ? 'firefox' : 'chromium';
const LAUNCH = {
  chromium: { executablePath: CHROMIUM_PATH, args: CHROMIUM_ARGS },
  firefox: { channel: 'moz-firefox', executablePath: FIREFOX_PATH },
};

// For Vitest; `demo/pages.ts` has the configuration of the demo page.
export default defineConfig({
  root: `${root}/demo`,
  resolve: { conditions: [source, ...defaultClientConditions] },
  ssr: { resolve: { conditions: [source, ...nodeConditions] } },
  test: {
    // The machines of CI are slow at times.
    expect: { poll: { timeout: 10_000 } },
    setupFiles: [`${root}/test/harness/patience.ts`],
    projects: [
      {
        extends: true,
        root,
        test: {
          name: 'node',
          include: ['test/behaviour/**/*.test.ts'],
          execArgv: ['--unhandled-rejections=strict'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        root,
        // Vitest runs `globalSetup` in an environment of this name, which does not inherit from `ssr`.
        environments: { __vitest__: { resolve: { conditions: [source, ...nodeConditions] } } },
        // Against the server at CONFORMANCE_URL, or our own.
        test: {
          name: 'conformance',
          include: ['test/conformance/**/*.test.ts'],
          globalSetup: ['test/conformance/suite/set-up.ts'],
          isolate: false,
          // Ours waits for at most five seconds; a model behind another may take its time.
          testTimeout: process.env['CONFORMANCE_URL'] === undefined ? 30_000 : 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        root,
        // The same behaviour where streams are kept in Redis.
        test: {
          name: 'redis',
          include: REDIS_TESTS,
          globalSetup: ['test/harness/redis-set-up.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        root,
        environments: { __vitest__: { resolve: { conditions: [source, ...nodeConditions] } } },
        test: {
          name: 'conformance-redis',
          include: ['test/conformance/**/*.test.ts'],
          globalSetup: ['test/harness/redis-set-up.ts', 'test/conformance/suite/set-up.ts'],
          isolate: false,
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        root,
        environments: { __vitest__: { resolve: { conditions: [source, ...nodeConditions] } } },
        // The page is opened as a visitor would, by scripting Chromium from Node.
        test: {
          name: 'page',
          include: ['test/page/**/*.test.ts'],
          globalSetup: ['test/page/set-up.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        root,
        // Needs the packages of `test/copilotkit`.
        test: {
          name: 'copilotkit',
          include: ['test/copilotkit/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        root,
        // The same in Chromium, Firefox and WebKit; BROWSERS names some of them, comma-separated.
        test: {
          name: 'browsers',
          include: ['test/browsers/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        root,
        plugins: [svelte({ configFile: false })],
        optimizeDeps: {
          include: [
            'rxjs',
            'engine.io-client',
            'socket.io-parser',
            'idb-keyval',
            'react',
            'react-dom',
            'react-dom/client',
            'vue',
            'solid-js',
            'solid-js/web',
            '@angular/compiler',
            '@angular/core',
            '@angular/platform-browser',
          ],
        },
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: ['test/browser/server.ts'],
          testTimeout: 30_000,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({ launchOptions: LAUNCH[browser] }),
            instances: [{ browser }],
          },
        },
      },
    ],
  },
});
