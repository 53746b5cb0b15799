import type { JournalEntry } from '../cache/journal.js';
import type { Memory } from '../cache/memory.js';
import type { KeptAnswer, Keeping } from '../cache/response-cache.js';
import type { StartRequest } from './request.js';
import type { CacheMode } from '../types.js';

/**
 * What an answer begins with.
 * - `kept`: a whole answer of this browser
 * - `journalled`: what a page before this one had of it
 * - `nothing`; `keeping` says how it is to be kept, if it is
 */
export type Beginning =
  | { status: 'kept'; answer: KeptAnswer }
  | { status: 'journalled'; entry: JournalEntry }
  | { status: 'nothing'; keeping?: Keeping };

/** Of a question that is asked now. */
export async function beginningOfAsk(
  request: StartRequest,
  mode: CacheMode,
  memory: Memory | undefined,
): Promise<Beginning> {
  const askedAt = Date.now();
  if (memory === undefined || mode === 'no-store') return { status: 'nothing' };
  const key = await memory.keyOf(request);
  const answer = mode === 'reload' ? undefined : await memory.answers.get(key);
  if (answer !== undefined) return { status: 'kept', answer };
  return { status: 'nothing', keeping: { key, askedAt, replaces: mode === 'reload' } };
}

/** Of an answer under way. */
export async function beginningOfAttach(
  id: string,
  memory: Memory | undefined,
): Promise<Beginning> {
  const entry = await memory?.journal?.read(id);
  return entry === undefined ? { status: 'nothing' } : { status: 'journalled', entry };
}
