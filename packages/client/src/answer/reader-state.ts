/**
 * The state of a stream reader.
 * - `restoring`: the client reads the journal. If `isWanted` is true, the reader opens the stream afterwards
 * - `opening`: the reader starts or resumes the stream as soon as there is a connection, and waits for the reply.
 *   `isReturning` is true if the reader was detached before
 * - `reading`: the server sends the stream. `hadEnded` is true if the stream ended while the reader was detached
 * - `detached`: the reader has detached, and can resume
 * - `ended`: the reader has nothing more to read
 */
export type ReaderState =
  | { status: 'restoring'; isWanted: boolean; isReturning: boolean }
  | { status: 'opening'; isReturning: boolean }
  | { status: 'reading'; hadEnded: boolean }
  | { status: 'detached' }
  | { status: 'ended'; hadEnded: boolean };

export const INITIAL: ReaderState = { status: 'restoring', isWanted: true, isReturning: false };

/** The journal was read. */
export function finishRestore(state: ReaderState): ReaderState {
  if (state.status !== 'restoring') return state;
  return state.isWanted
    ? { status: 'opening', isReturning: state.isReturning }
    : { status: 'detached' };
}

/** The connection was lost, or an entry is missing: the reader opens the stream again. */
export function interrupt(state: ReaderState): ReaderState {
  return state.status === 'reading' ? { status: 'opening', isReturning: false } : state;
}

/** The server has replied. `hasEnded` is true if the stream is not running any more. */
export function acceptReply(state: ReaderState, hasEnded: boolean): ReaderState {
  if (state.status !== 'opening') return state;
  return { status: 'reading', hadEnded: state.isReturning && hasEnded };
}

/** @returns the same object if the reader is detached already. */
export function detach(state: ReaderState): ReaderState {
  if (!isAttached(state)) return state;
  return state.status === 'restoring' ? { ...state, isWanted: false } : { status: 'detached' };
}

/** @returns the same object if the reader is not detached. */
export function resume(state: ReaderState): ReaderState {
  if (state.status === 'detached') return { status: 'opening', isReturning: true };
  if (isAttached(state) || state.status !== 'restoring') return state;
  return { status: 'restoring', isWanted: true, isReturning: true };
}

export function finish(state: ReaderState): ReaderState {
  return { status: 'ended', hadEnded: 'hadEnded' in state && state.hadEnded };
}

function isAttached(state: ReaderState): boolean {
  if (state.status === 'restoring') return state.isWanted;
  return state.status === 'opening' || state.status === 'reading';
}
