import type { RequestListener } from 'node:http';
import { createServer, currentTime, type RivuletServer, searchDocs } from '@rivulet/server';
import { isPortTaken } from '../packages/server/src/listen.js';
import { exposePrometheus, serveMetrics } from '../packages/server/src/observe/prometheus.js';
import { runProcess } from '../packages/server/src/run-process.js';
import { ConfigError } from '../packages/server/src/settings/resolve-settings.js';
import { openBuiltPages } from './built-pages.js';
import { serveDocument } from './documents.js';
import { setSecurityHeaders } from './headers.js';
import { createHostCheck, type HostCheck, refuseHost } from './hosts.js';

/** Vite's development server gives its sources to whoever reaches it. */
const isDev = process.argv.includes('--dev');
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

/** The demo page and the Rivulet server behind one URL. */
const ENV = { ...process.env, LOG_LEVEL: process.env['LOG_LEVEL'] || 'warn' };

await runProcess(ENV, async ({ env, settings, logger }) => {
  const { allowedOrigins, metricsEnabled, host } = settings;
  if (isDev && !LOOPBACK.has(host)) {
    throw new ConfigError(
      `HOST is ${JSON.stringify(host)}; \`npm run dev\` is for this machine alone: unset HOST, or use \`npm start\``,
    );
  }
  const hosts = createHostCheck(allowedOrigins);
  const server = await createServer({
    env,
    logger,
    // The page asks there.
    socketPath: '/socket.io',
    tools: [searchDocs(), currentTime()],
    metrics: metricsEnabled ? serveMetrics(exposePrometheus()) : undefined,
    page: (request, response) => {
      setSecurityHeaders(request, response);
      if (!hosts.isAllowed(request.headers.host)) refuseHost(request, response);
      else if (!serveDocument(request, response)) pages.serve(request, response);
    },
  });
  const pages = isDev ? await developedPages(server, hosts) : { serve: await openBuiltPages() };
  const url = await server.listen().catch((error: unknown) => {
    if (isPortTaken(error) && !process.env['PORT']) return server.listen(0);
    throw error;
  });
  return {
    url,
    providers: server.providers,
    line: `\n  Rivulet is at ${url}  (answers come from: ${server.providers.join(', then ')})\n`,
    drain: () => server.drain(),
    async close() {
      await pages.close?.();
      await server.close();
    },
  };
});

interface Pages {
  serve: RequestListener;
  close?(): Promise<void>;
}

async function developedPages({ http }: RivuletServer, hosts: HostCheck): Promise<Pages> {
  const { createPages } = await import('./pages.js');
  const vite = await createPages({ http, allowedHosts: hosts.forVite });
  return {
    serve: (request, response) => vite.middlewares(request, response),
    close: () => vite.close(),
  };
}
