#!/usr/bin/env node
import { exposePrometheus } from './observe/prometheus.js';
import { runProcess } from './run-process.js';
import { createServer } from './server.js';

await runProcess(process.env, async ({ env, settings, logger }) => {
  const metrics = settings.metricsEnabled ? exposePrometheus() : undefined;
  const server = await createServer({ env, logger, metrics });
  const url = await server.listen();
  const { providers } = server;
  return {
    line: `rivulet: ${url} (${providers.join(', then ')})`,
    url,
    providers,
    drain: () => server.drain(),
    close: () => server.close(),
  };
});
