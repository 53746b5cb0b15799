import { pino, type Logger as PinoLogger } from 'pino';

/**
 * One JSON object a line on standard error. `event` names what happened; prompts, answers, keys and
 * ids never appear, only sizes, times and names.
 */
export type Logger = PinoLogger;

export function createLogger(level: string): Logger {
  return pino({ level, base: null }, pino.destination({ dest: 2, sync: false }));
}
