import { readFileSync } from 'node:fs';
import {
  type ShutdownListener,
  type ShutdownReason,
  onShutdownSignal,
} from './shutdown-signals.js';
import { isPortTaken } from './listen.js';
import { createLogger, FieldsLogger, type Logger } from './observe/logger.js';
import { ConfigError, type Environment, resolveSettings } from './settings/resolve-settings.js';
import { misspeltVariables } from './settings/option-names.js';
import { SETTINGS, type Settings } from './settings/settings.js';

/** A running server. */
export interface RunningServer {
  /** Printed when the server accepts connections. */
  line: string;
  url: string;
  /** The names of the providers, in order. */
  providers: readonly string[];
  /** Waits for active streams until the time limit. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** The environment of a process for its server. */
export interface ProcessContext {
  env: Environment;
  settings: Settings;
  logger: Logger;
}

/** The shutdown events and log fields of a process. */
export interface ProcessRole {
  /** Added to each line of the log. */
  fields: Readonly<Record<string, unknown>>;
  /** Called when the server accepts connections. */
  ready(started: RunningServer): void;
  onEnd(listener: ShutdownListener): void;
}

const STANDALONE: ProcessRole = {
  fields: {},
  ready: ({ line }) => console.log(line),
  onEnd: onShutdownSignal,
};

/** EX_CONFIG of `sysexits.h`: a restart would not help. A port that is in use may be free later. */
export const CONFIG_EXIT_CODE = 78;
const SLOW_DRAIN_MS = 300;

/**
 * Runs a server in this process, and prints its line. SIGTERM, SIGINT, SIGHUP and the exit of the npm process
 * that started this one drain and close the server, with exit code 0. During the start, they exit at once with
 * 0. A second signal exits at once with 1. A wrong setting is printed, with exit code 78; any other error at the
 * start, such as a port that is in use, has exit code 1. For an uncaught exception, only its class and place are
 * logged, because its message may quote a prompt.
 *
 * @param role the role of a standalone process unless given.
 */
export async function runProcess(
  env: Environment,
  start: (context: ProcessContext) => Promise<RunningServer>,
  role: ProcessRole = STANDALONE,
): Promise<void> {
  let logger: Logger | undefined;

  function exit(exitCode: number, reason: string, fields: { err?: unknown } = {}): never {
    const level = exitCode === 0 ? 'info' : 'error';
    logger?.[level]({ event: 'SERVER_EXIT', exitCode, reason, ...fields });
    process.exit(exitCode);
  }

  process.on('uncaughtException', (error) => exit(1, 'fault', { err: error }));
  let started: RunningServer | undefined;
  let drainSeconds = 0;
  // Before the start: process 1 of a container ignores signals without a listener.
  role.onEnd({
    end(reason: ShutdownReason) {
      const server = started;
      if (server === undefined) return exit(0, reason);
      logger?.info({ event: 'SERVER_DRAINING', signal: reason, drainSeconds });
      if (reason === 'SIGINT') setTimeout(reportDraining, SLOW_DRAIN_MS).unref();
      void server
        .drain()
        .then(() => server.close())
        .finally(() => exit(0, reason));
    },
    endNow: (reason) => exit(1, `a second signal, ${reason}`),
  });
  try {
    const settings = resolveSettings({ env });
    logger = new FieldsLogger(createLogger(settings.logLevel), role.fields);
    const { pid, version: node } = process;
    logger.info({ event: 'SERVER_STARTING', version: readVersion(), pid, node });
    for (const { variable, setting } of misspeltVariables(env, Object.values(SETTINGS)))
      logger.warn({ event: 'SETTING_UNKNOWN', variable, hint: `did you mean ${setting}?` });
    drainSeconds = settings.drainSeconds;
    started = await start({ env, settings, logger });
    // The reader of this line may send a signal at once.
    role.ready(started);
    const { url, providers } = started;
    logger.info({ event: 'SERVER_READY', url, providers });
  } catch (error) {
    console.error(`rivulet: unable to start:${explain(error)}`);
    if (isPortTaken(error)) exit(1, 'port in use');
    if (error instanceof ConfigError) exit(CONFIG_EXIT_CODE, 'configuration');
    exit(1, 'unable to start');
  }
}

/** @returns the version of this package. */
export function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Explains why Ctrl+C has no visible effect while an answer is in progress. */
function reportDraining(): void {
  if (!process.stderr.isTTY) return;
  console.error('rivulet: ends once the running answers have ended; Ctrl+C again ends it at once');
}

/** @returns the text after a colon: on the same line, or one line for each problem. */
function explain(error: unknown): string {
  if (!(error instanceof ConfigError)) {
    return ` ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  const problems = error.message.split('\n');
  return problems.length === 1 ? ` ${error.message}` : `\n  ${problems.join('\n  ')}`;
}
