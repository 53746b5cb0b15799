import type { Server } from 'node:http';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import vue from '@vitejs/plugin-vue';
import { createServer, type ViteDevServer } from 'vite';
import solid from 'vite-plugin-solid';

export interface PagesOptions {
  /** Pages follow changes of their sources by a socket on it. */
  http?: Server;
  /** The host names of pages, besides IP addresses and `localhost`, or `true` for all. */
  allowedHosts?: true | string[];
}

/** The demo page, and the examples under /examples/NAME/. */
export function createPages({
  http,
  allowedHosts = [],
}: PagesOptions = {}): Promise<ViteDevServer> {
  return createServer({
    appType: 'spa',
    logLevel: 'warn',
    // Alone its files are Solid's: React's have the same ending.
    plugins: [vue(), svelte({ configFile: false }), solid({ include: /\/examples\/solid\// })],
    server: { middlewareMode: true, allowedHosts, hmr: http ? { server: http } : false },
  });
}
