import { createHash } from 'node:crypto';

/** @returns a name for a Redis key. It does not reveal `text`, and its length does not depend on it. */
export function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
