import { StreamError } from '@rivulet/protocol';
import type * as z from 'zod';

/** Validates a client's message. @throws {StreamError} bad_request; the message names the invalid fields. */
export function parse<T>(schema: z.ZodType<T>, raw: unknown): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const faults = result.error.issues.slice(0, 3).map(({ path, message }) => {
    return path.length === 0 ? message : `\`${path.join('.')}\`: ${message}`;
  });
  throw new StreamError('bad_request', `unable to read the message: ${faults.join('; ')}`);
}
