import type { RequestListener } from 'node:http';
import { createServer, currentTime, type RivuletServer, searchDocs } from '@rivulet/server';
import { isPortTaken, listen } from '../packages/server/src/listen.js';
import { exposePrometheus, serveMetrics } from '../packages/server/src/observe/prometheus.js';
import { readVersion, runProcess } from '../packages/server/src/run-process.js';
import { ConfigError } from '../packages/server/src/settings/resolve-settings.js';
import { chooseProviders } from '../packages/server/src/upstream/choose-providers.js';
import { openBuiltPages } from './built-pages.js';
import { serveDocument } from './documents.js';
import { setSecurityHeaders } from './headers.js';
import { createHostCheck, type HostCheck, refuseHost } from './hosts.js';
import { openLab, type StartServer } from './lab/lab.js';
import { showcase } from './showcase.js';

// The demo page and the Rivulet server behind one URL.

/** Vite's development server gives the sources to everyone who reaches it. */
const isDev = process.argv.includes('--dev');
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

const ENV = {
  ...process.env,
  LOG_LEVEL: process.env['LOG_LEVEL'] || 'warn',
  // Each visitor sees an answer being generated, also to a question that another visitor asked before.
  LLM_CACHE_SCOPE: process.env['LLM_CACHE_SCOPE'] || 'principal',
};
/** "Exhaust the rate limit" makes the next question wait for at most this long. */
const LAB_WINDOW_SECONDS = '10';

await runProcess(ENV, async ({ env, settings, logger }) => {
  const { allowedOrigins, metricsEnabled, host, port } = settings;
  if (isDev && !LOOPBACK.has(host)) {
    throw new ConfigError(
      `HOST is ${JSON.stringify(host)}; \`npm run dev\` is for this machine alone: unset HOST, or use \`npm start\``,
    );
  }
  const hosts = createHostCheck(allowedOrigins);
  const metrics = metricsEnabled ? serveMetrics(exposePrometheus(readVersion())) : undefined;
  const fallback = showcase();
  const providers = await chooseProviders(settings, logger, { provider: fallback });
  let pages: Pages | undefined;
  // Everyone who can reach the page may press the buttons, so only pages of this machine have them.
  const hasLab = !isDev && LOOPBACK.has(host) && allowedOrigins === undefined;
  const windowSeconds = env['RATE_LIMIT_WINDOW_SECONDS'] || LAB_WINDOW_SECONDS;

  const start: StartServer = async ({ record, serve }) =>
    createServer({
      env: hasLab ? { ...env, RATE_LIMIT_WINDOW_SECONDS: windowSeconds } : env,
      logger,
      providers: record(providers),
      // The page asks there.
      socketPath: '/socket.io',
      tools: [searchDocs(), currentTime()],
      metrics,
      page: (request, response) => {
        setSecurityHeaders(request, response);
        if (!hosts.isAllowed(request.headers.host)) refuseHost(request, response);
        else if (!serve(request, response) && !serveDocument(request, response)) {
          pages?.serve(request, response);
        }
      },
    });

  const lab = hasLab ? await openLab(start) : undefined;
  const alone = lab ? undefined : await start({ record: (all) => all, serve: () => false });
  const server = (): RivuletServer => (lab?.server() ?? alone)!;
  pages = isDev
    ? await developedPages(server(), hosts)
    : { serve: await openBuiltPages({ hasLab }) };

  const listener = lab?.proxy.listener ?? server().http;
  const url = await listen(listener, host, port).catch((error: unknown) => {
    if (isPortTaken(error) && !process.env['PORT']) return listen(listener, host, 0);
    throw error;
  });
  const names = server().providers;
  const source = names.includes(fallback.name)
    ? 'no language model was found: the documentation search or a scripted text answers'
    : `answers come from: ${names.join(', then ')}`;
  return {
    url,
    providers: names,
    line: `\n  Rivulet is at ${url}  (${source})\n`,
    drain: () => server().drain(),
    async close() {
      await pages?.close?.();
      await (lab ?? server()).close();
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
