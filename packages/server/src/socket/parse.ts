import { StreamError } from '@rivulet/protocol';
import type * as z from 'zod';

const MAX_PATH_UNITS = 100;
const MAX_WORDS_UNITS = 200;

/** Validates a client's message. @throws {StreamError} bad_request; the message names the invalid fields. */
export function parse<T>(schema: z.ZodType<T>, raw: unknown): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  // A key of the client may be as long as the whole message, and is in the path or in the words.
  const faults = result.error.issues.slice(0, 3).map(({ path, message }) => {
    const words = shorten(message, MAX_WORDS_UNITS);
    return path.length === 0 ? words : `\`${shorten(path.join('.'), MAX_PATH_UNITS)}\`: ${words}`;
  });
  throw new StreamError('bad_request', `unable to read the message: ${faults.join('; ')}`);
}

function shorten(text: string, units: number): string {
  if (text.length <= units) return text;
  return `${text.slice(0, units).replace(/[\ud800-\udbff]$/, '')}…`;
}
