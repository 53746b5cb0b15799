import { pino } from 'pino';
import { errorFacts } from './error-facts.js';

/** What happened, by name, and its sizes, times and names; never a prompt, an answer, a key or an id. */
export interface LogFields {
  event: string;
  /** What was thrown; only its facts are written. */
  err?: unknown;
  [field: string]: unknown;
}

/** Where events go; a pino logger is one. */
export interface Logger {
  debug(fields: LogFields): void;
  info(fields: LogFields): void;
  warn(fields: LogFields): void;
  error(fields: LogFields): void;
}

/** One JSON object a line on standard error. */
export function createLogger(level: string): Logger {
  return logErrorFacts(pino({ level, base: null }, pino.destination({ dest: 2, sync: false })));
}

const safeLoggers = new WeakSet<Logger>();

/**
 * The same logger, given only the facts of an error. Here and not by a serializer: pino takes the
 * line's message from the error before it asks one.
 */
export function logErrorFacts(logger: Logger): Logger {
  if (safeLoggers.has(logger)) return logger;
  const factsOnly = (fields: LogFields): LogFields =>
    'err' in fields ? { ...fields, err: errorFacts(fields.err) } : fields;
  const safe: Logger = {
    debug: (fields) => logger.debug(factsOnly(fields)),
    info: (fields) => logger.info(factsOnly(fields)),
    warn: (fields) => logger.warn(factsOnly(fields)),
    error: (fields) => logger.error(factsOnly(fields)),
  };
  safeLoggers.add(safe);
  return safe;
}

/** A logger whose lines have `fields`, too: what an answer or a connection is known by. */
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
