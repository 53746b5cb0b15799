import { ERRORS, StreamError } from '@rivulet/protocol';

const PROPERTIES = [
  'name',
  'message',
  'stack',
  'code',
  'failure',
  'detail',
  'advice',
  'status',
  'retryable',
  'retryAfterMs',
  'fits',
] as const;
const MAX_CAUSES = 4;

/**
 * Makes a value that the application's code threw safe to examine: `instanceof` and getters can throw, too.
 *
 * @returns the value itself if it can be read; otherwise an error in its place, such as for a revoked proxy or
 * for a `StreamError` with an unknown code.
 */
export function readableError(thrown: unknown): unknown {
  try {
    let error = thrown;
    for (let depth = 0; error instanceof Error && depth <= MAX_CAUSES; depth++) {
      for (const name of PROPERTIES) void Reflect.get(error, name);
      error = error.cause;
    }
    const isUnknown = thrown instanceof StreamError && !Object.hasOwn(ERRORS, thrown.code);
    return isUnknown ? new TypeError('the code of the StreamError is unknown') : thrown;
  } catch {
    return new Error('the thrown value could not be read');
  }
}
