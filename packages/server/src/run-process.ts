import { errorFacts } from './observe/error-facts.js';
import { ConfigError } from './settings/resolve-settings.js';

/** A server that runs until it is closed. */
export interface Started {
  /** Printed once connections are accepted. */
  line: string;
  /** Lets active streams finish, as far as there is time. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Runs a server as the work of this process, and prints its line. SIGTERM drains and closes it, and
 * SIGINT closes it, both with exit code 0; a second signal exits at once. An error at the start is
 * printed, with exit code 1. Of an uncaught exception only its class and place are printed, since its
 * message may quote a prompt.
 */
export async function runProcess(start: () => Promise<Started>): Promise<void> {
  process.on('uncaughtException', (error) => {
    console.error(`rivulet: ended by a fault: ${JSON.stringify(errorFacts(error))}`);
    process.exit(1);
  });
  try {
    const started = await start();
    console.log(started.line);
    let closing = false;
    const end = (first: () => Promise<void>): void => {
      if (closing) process.exit(1);
      closing = true;
      void first()
        .then(() => started.close())
        .finally(() => process.exit(0));
    };
    process.on('SIGINT', () => end(async () => {}));
    process.on('SIGTERM', () => end(() => started.drain()));
  } catch (error) {
    console.error(`rivulet: unable to start:${explain(error)}`);
    process.exit(1);
  }
}

/** Follows a colon: on its line, or as a line for each problem. */
function explain(error: unknown): string {
  if (!(error instanceof ConfigError)) {
    return ` ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  const problems = error.message.split('\n');
  return problems.length === 1 ? ` ${error.message}` : `\n  ${problems.join('\n  ')}`;
}
