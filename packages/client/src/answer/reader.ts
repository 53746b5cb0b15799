/**
 * What this page does about a stream.
 * - `looking`: what this browser kept is being read; `wanted` says whether the stream is to be read after
 * - `opening`: it asks, or reads on, as soon as there is a connection, and waits for the reply;
 *   `isBack` says that it had left before
 * - `reading`: the server sends; `hadEnded` says that the stream ended while nobody here read it
 * - `away`: it has left, and may come back
 * - `over`: there is nothing more to read
 */
export type Reader =
  | { status: 'looking'; wanted: boolean; isBack: boolean }
  | { status: 'opening'; isBack: boolean }
  | { status: 'reading'; hadEnded: boolean }
  | { status: 'away' }
  | { status: 'over'; hadEnded: boolean };

export const LOOKING: Reader = { status: 'looking', wanted: true, isBack: false };

/** The stream itself is to be read, if it is still wanted. */
export function lookedUp(reader: Reader): Reader {
  if (reader.status !== 'looking') return reader;
  return reader.wanted ? { status: 'opening', isBack: reader.isBack } : { status: 'away' };
}

/** It has to be asked or read on again, after a gap or a lost connection. */
export function interrupted(reader: Reader): Reader {
  return reader.status === 'reading' ? { status: 'opening', isBack: false } : reader;
}

export function replied(reader: Reader, hasEnded: boolean): Reader {
  if (reader.status !== 'opening') return reader;
  return { status: 'reading', hadEnded: reader.isBack && hasEnded };
}

/** The same when it had left already. */
export function left(reader: Reader): Reader {
  if (!isThere(reader)) return reader;
  return reader.status === 'looking' ? { ...reader, wanted: false } : { status: 'away' };
}

/** The same when it had not left. */
export function cameBack(reader: Reader): Reader {
  if (reader.status === 'away') return { status: 'opening', isBack: true };
  if (isThere(reader) || reader.status !== 'looking') return reader;
  return { status: 'looking', wanted: true, isBack: true };
}

export function ended(reader: Reader): Reader {
  return { status: 'over', hadEnded: 'hadEnded' in reader && reader.hadEnded };
}

function isThere(reader: Reader): boolean {
  if (reader.status === 'looking') return reader.wanted;
  return reader.status === 'opening' || reader.status === 'reading';
}
