import { createServer, currentTime, searchDocs } from '@rivulet/server';
import { isPortTaken } from '../packages/server/src/listen.js';
import { exposePrometheus } from '../packages/server/src/observe/prometheus.js';
import { runProcess } from '../packages/server/src/run-process.js';
import { serveDocument } from './documents.js';
import { createHostCheck, refuseHost } from './hosts.js';
import { createPages } from './pages.js';

/** The demo page and the Rivulet server behind one URL. */
const ENV = { ...process.env, LOG_LEVEL: process.env['LOG_LEVEL'] || 'warn' };

await runProcess(ENV, async ({ env, settings, logger }) => {
  const { allowedOrigins, metricsEnabled } = settings;
  const hosts = createHostCheck(allowedOrigins);
  const server = await createServer({
    env,
    logger,
    // The page asks there.
    socketPath: '/socket.io',
    tools: [searchDocs(), currentTime()],
    metrics: metricsEnabled ? exposePrometheus() : undefined,
    page: (request, response) => {
      if (!hosts.isAllowed(request.headers.host)) refuseHost(request, response);
      else if (!serveDocument(request, response)) vite.middlewares(request, response);
    },
  });
  const vite = await createPages({ http: server.http, allowedHosts: hosts.forVite });
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
      await vite.close();
      await server.close();
    },
  };
});
