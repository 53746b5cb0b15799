#!/usr/bin/env node
import { readConfig } from './config.js';
import { exposePrometheus } from './observe/prometheus.js';
import { runProcess } from './run-process.js';
import { createServer } from './server.js';

await runProcess(async () => {
  const config = readConfig(process.env);
  const metrics = config.metricsEnabled ? exposePrometheus() : undefined;
  const server = await createServer({ config, metrics });
  const url = await server.listen();
  return {
    line: `rivulet: ${url} (${server.providers.join(', then ')})`,
    drain: () => server.drain(),
    close: () => server.close(),
  };
});
