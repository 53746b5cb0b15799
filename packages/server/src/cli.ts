#!/usr/bin/env node
import { exposePrometheus } from './observe/prometheus.js';
import { runProcess } from './run-process.js';
import { createServer } from './server.js';
import { resolveSettings } from './settings/resolve-settings.js';

await runProcess(async () => {
  const metrics = resolveSettings().metricsEnabled ? exposePrometheus() : undefined;
  const server = await createServer({ metrics });
  const url = await server.listen();
  return {
    line: `rivulet: ${url} (${server.providers.join(', then ')})`,
    drain: () => server.drain(),
    close: () => server.close(),
  };
});
