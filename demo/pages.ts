import type { Server } from 'node:http';
import { join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import vue from '@vitejs/plugin-vue';
import {
  build,
  createServer,
  defaultClientConditions,
  type InlineConfig,
  type ViteDevServer,
} from 'vite';
import solid from 'vite-plugin-solid';

export interface PagesOptions {
  /** Pages follow changes of their sources by a socket on it. */
  http?: Server;
  /** The host names of pages, besides IP addresses and `localhost`, or `true` for all. */
  allowedHosts?: true | string[];
}

const ROOT = import.meta.dirname;
const PAGES = [
  'index.html',
  ...['react', 'vue', 'svelte', 'angular', 'solid'].flatMap((name) => [
    `examples/${name}/index.html`,
    `examples/${name}/chat.html`,
  ]),
  ...['ai-sdk', 'tanstack-ai', 'ag-ui', 'assistant-ui'].map(
    (name) => `examples/${name}/index.html`,
  ),
];

function config(hasLab = false): InlineConfig {
  return {
    configFile: false,
    root: ROOT,
    logLevel: 'warn',
    // Alone its files are Solid's: React's have the same ending.
    plugins: [vue(), svelte({ configFile: false }), solid({ include: /\/examples\/solid\// })],
    // The parts behind a false condition are not in the build.
    define: { 'import.meta.env.HAS_LAB': String(hasLab) },
    resolve: { conditions: ['@rivulet/source', ...defaultClientConditions] },
  };
}

/** The development server of the demo page, and of the examples: /examples/NAME/ and /examples/NAME/chat.html. */
export function createPages({
  http,
  allowedHosts = [],
}: PagesOptions = {}): Promise<ViteDevServer> {
  return createServer({
    ...config(),
    appType: 'spa',
    server: { middlewareMode: true, allowedHosts, hmr: http ? { server: http } : false },
  });
}

/**
 * Builds the same pages into `folder`, which must not exist.
 *
 * @param options `hasLab` builds the page with "Try to break it", which is for this machine alone.
 */
export async function buildPages(folder: string, { hasLab = false } = {}): Promise<void> {
  await build({
    ...config(hasLab),
    build: {
      outDir: folder,
      // The page's policy allows fonts of its own origin alone.
      assetsInlineLimit: (file) => (file.endsWith('.woff2') ? false : undefined),
      // Angular's compiler is a part of its example.
      chunkSizeWarningLimit: 1_000,
      rolldownOptions: { input: PAGES.map((page) => join(ROOT, page)) },
    },
  });
}
