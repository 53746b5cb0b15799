#!/usr/bin/env node
import { readConfig } from './config.js';
import { runProcess } from './run-process.js';
import { createServer } from './server.js';

await runProcess(async () => {
  const server = await createServer({ config: readConfig(process.env) });
  const url = await server.listen();
  return {
    line: `rivulet: ${url} (${server.providers.join(', then ')})`,
    close: () => server.close(),
  };
});
