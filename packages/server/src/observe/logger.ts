import { pino } from 'pino';
import { errorFacts } from './error-facts.js';

/** The name of the event, and its sizes, times and names; never a prompt, an answer, a key or an id. */
export interface LogFields {
  event: string;
  /** The error. Only its `ErrorFacts` are written. */
  err?: unknown;
  [field: string]: unknown;
}

/** Receives log events. A pino logger is one. */
export interface Logger {
  debug(fields: LogFields): void;
  info(fields: LogFields): void;
  warn(fields: LogFields): void;
  error(fields: LogFields): void;
}

/** Lines that cannot be written beyond it are lost. */
const MAX_UNWRITTEN_BYTES = 1_048_576;

/** Creates a logger that writes one JSON object per line to standard error. */
export function createLogger(level: string): Logger {
  const output = pino.destination({ dest: 2, sync: false, maxLength: MAX_UNWRITTEN_BYTES });
  // While the disk is full, or the terminal is gone, lines are lost, and the process goes on.
  let isFailing = false;
  output.on('error', () => (isFailing = true));
  output.on('write', () => (isFailing = false));
  const flushSync = output.flushSync.bind(output);
  // At the exit of the process, it would try again for ever.
  output.flushSync = () => {
    if (!isFailing) flushSync();
  };
  return logErrorFacts(pino({ level, base: null }, output));
}

/**
 * Wraps a logger so that it receives only the facts of an error. A serializer would not suffice: pino takes
 * the line's message from the error before it calls the serializer.
 */
export function logErrorFacts(logger: Logger): Logger {
  const factsOnly = (fields: LogFields): LogFields =>
    'err' in fields ? { ...fields, err: errorFacts(fields.err) } : fields;
  return {
    debug: (fields) => logger.debug(factsOnly(fields)),
    info: (fields) => logger.info(factsOnly(fields)),
    warn: (fields) => logger.warn(factsOnly(fields)),
    error: (fields) => logger.error(factsOnly(fields)),
  };
}

/** A logger that adds `fields`, such as the ids of an answer, to each line. */
export class FieldsLogger implements Logger {
  readonly #logger: Logger;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(logger: Logger, fields: Readonly<Record<string, unknown>>) {
    this.#logger = logger;
    this.#fields = fields;
  }

  debug(line: LogFields): void {
    this.#logger.debug({ ...line, ...this.#fields });
  }

  info(line: LogFields): void {
    this.#logger.info({ ...line, ...this.#fields });
  }

  warn(line: LogFields): void {
    this.#logger.warn({ ...line, ...this.#fields });
  }

  error(line: LogFields): void {
    this.#logger.error({ ...line, ...this.#fields });
  }
}
