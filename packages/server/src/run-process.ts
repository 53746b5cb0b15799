import { errorFacts } from './observe/error-facts.js';
import { ConfigError } from './settings/resolve-settings.js';

/** What runs until it is closed. `line` says where, once it accepts connections. */
export interface Started {
  line: string;
  /** Lets what runs come to its end, as far as there is time. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts it as the work of this process: prints its line, and ends it with exit code 0 on SIGINT, and
 * on SIGTERM once it is drained; at once on a second one. What keeps it from starting is printed, with exit code 1;
 * of a fault that nobody caught, only where it was, since Node would print the prompt in it.
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
