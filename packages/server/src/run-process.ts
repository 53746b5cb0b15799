import { onEndSignal } from './end-signals.js';
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

const SLOW_DRAIN_MS = 300;

/**
 * Runs a server as the work of this process, and prints its line. SIGTERM, SIGINT and the exit of the npm
 * that started the process drain and close it, with exit code 0; a second signal exits at once, with 1. An
 * error at the start is printed, with exit code 1. Of an uncaught exception only its class and place are printed, since its
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
    onEndSignal({
      end(reason) {
        if (reason === 'SIGINT') setTimeout(sayThatItDrains, SLOW_DRAIN_MS).unref();
        void started
          .drain()
          .then(() => started.close())
          .finally(() => process.exit(0));
      },
      endNow: () => process.exit(1),
    });
  } catch (error) {
    console.error(`rivulet: unable to start:${explain(error)}`);
    process.exit(1);
  }
}

/** Ctrl+C seems to do nothing while an answer is under way. */
function sayThatItDrains(): void {
  if (!process.stderr.isTTY) return;
  console.error('rivulet: ends once the running answers have ended; Ctrl+C again ends it at once');
}

/** Follows a colon: on its line, or as a line for each problem. */
function explain(error: unknown): string {
  if (!(error instanceof ConfigError)) {
    return ` ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  const problems = error.message.split('\n');
  return problems.length === 1 ? ` ${error.message}` : `\n  ${problems.join('\n  ')}`;
}
