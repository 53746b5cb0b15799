import type { Logger } from '@rivulet/server';
import { pino } from 'pino';

export interface Recorded {
  logger: Logger;
  /** Each line as the object that it is. */
  readonly events: Record<string, unknown>[];
  written(): string;
}

/** A logger that keeps what it is told. */
export function recorded(): Recorded {
  const lines: string[] = [];
  const logger = pino({ base: null }, { write: (line: string) => void lines.push(line) });
  return {
    logger,
    get events() {
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    },
    written: () => lines.join(''),
  };
}
