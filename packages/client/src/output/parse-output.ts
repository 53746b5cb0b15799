import type { Schema } from '../types.js';
import { validate } from './validate.js';

/** The validated value of a text, or the reason for which it is not valid. */
export type ParseResult<T> = { value: T } | { message: string; cause: unknown };

export async function parseOutput<T>(schema: Schema<T>, text: string): Promise<ParseResult<T>> {
  try {
    return { value: await validate(schema, JSON.parse(text)) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return { message: `unable to read the answer by its schema: ${reason}`, cause };
  }
}
