import type { Server } from 'node:http';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import vue from '@vitejs/plugin-vue';
import { createServer, type ViteDevServer } from 'vite';
import solid from 'vite-plugin-solid';

/**
 * The demo page, and the examples under /examples/NAME/. Given `http`, pages follow changes of their
 * sources by a socket on it.
 */
export function createPages(http?: Server): Promise<ViteDevServer> {
  return createServer({
    appType: 'spa',
    logLevel: 'warn',
    // Alone its files are Solid's: React's have the same ending.
    plugins: [vue(), svelte({ configFile: false }), solid({ include: /\/examples\/solid\// })],
    server: { middlewareMode: true, hmr: http ? { server: http } : false },
  });
}
