#!/usr/bin/env node
import cluster from 'node:cluster';
import { parseArgs } from 'node:util';
import { exposePrometheus, type ReadMetrics, serveMetrics } from './observe/prometheus.js';
import { type ProcessContext, readVersion, runProcess, type RunningServer } from './run-process.js';
import { createServer } from './server.js';
import { ConfigError } from './settings/resolve-settings.js';
import { WORKER_ENV } from './workers/messages.js';
import { startWorkers } from './workers/primary.js';
import { joinPrimary } from './workers/worker.js';

type ShareMetrics = (read: ReadMetrics | undefined) => ReadMetrics | undefined;

const MAX_WORKERS = 256;

const USAGE = `Usage: rivulet-server [--workers NUMBER]

  --workers NUMBER  serve the port by this many processes; needs REDIS_URL
  --help            print this text
  --version         print the version

All settings are environment variables, such as PORT, GEMINI_API_KEY and ALLOWED_ORIGINS.
docs/server-options.md of the repository lists them.`;

const args = process.argv.slice(2);

if (cluster.isWorker && process.env[WORKER_ENV] !== undefined) {
  const { role, shareMetrics } = joinPrimary();
  await runProcess(process.env, (context) => serve(context, shareMetrics), role);
} else if (args.includes('--help')) {
  process.stdout.write(`${USAGE}\n`);
} else if (args.includes('--version')) {
  process.stdout.write(`${readVersion()}\n`);
} else {
  await runProcess(process.env, (context) => {
    const workers = parseWorkers();
    return workers === undefined ? serve(context, (read) => read) : startWorkers(workers, context);
  });
}

async function serve(
  { env, settings, logger }: ProcessContext,
  shareMetrics: ShareMetrics,
): Promise<RunningServer> {
  const read = settings.metricsEnabled ? shareMetrics(exposePrometheus(readVersion())) : undefined;
  const server = await createServer({ env, logger, metrics: serveMetrics(read) });
  const url = await server.listen();
  const { providers } = server;
  return {
    line: `rivulet: ${url} (${providers.join(', then ')})`,
    url,
    providers,
    drain: () => server.drain(),
    close: () => server.close(),
  };
}

/** @throws {ConfigError} an argument is unknown, or the number of workers is not allowed. */
function parseWorkers(): number | undefined {
  let workers: string | undefined;
  try {
    ({ workers } = parseArgs({ args, options: { workers: { type: 'string' } } }).values);
  } catch (cause) {
    throw new ConfigError((cause as Error).message, { cause });
  }
  if (workers === undefined) return undefined;
  if (/^[1-9]\d*$/.test(workers) && Number(workers) <= MAX_WORKERS) return Number(workers);
  throw new ConfigError(
    `--workers is ${JSON.stringify(workers)}; it must be a whole number from 1 to ${MAX_WORKERS}`,
  );
}
