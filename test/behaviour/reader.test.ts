import { describe, expect, it } from 'vitest';
import {
  resume,
  finish,
  interrupt,
  detach,
  finishRestore,
  INITIAL,
  type ReaderState,
  acceptReply,
} from '../../packages/client/src/answer/reader-state.js';

const OPENING: ReaderState = { status: 'opening', isReturning: false };
const READING: ReaderState = { status: 'reading', hadEnded: false };
const AWAY: ReaderState = { status: 'detached' };

describe('a reader', () => {
  it('opens the stream once what was kept has been looked up, if it is still wanted', () => {
    expect(finishRestore(INITIAL)).toEqual(OPENING);
    expect(finishRestore(detach(INITIAL))).toEqual(AWAY);
    expect(finishRestore(resume(detach(INITIAL)))).toEqual({
      status: 'opening',
      isReturning: true,
    });
  });

  it('knows that the stream had ended while it was away, and only then', () => {
    expect(acceptReply(OPENING, true)).toEqual(READING);
    const back = resume(detach(READING));
    expect(acceptReply(back, false)).toEqual(READING);
    const late = acceptReply(back, true);
    expect(late).toEqual({ status: 'reading', hadEnded: true });
    expect(finish(late)).toEqual({ status: 'ended', hadEnded: true });
    expect(acceptReply(interrupt(back), true)).toEqual(late);
  });

  it('has to open the stream again after an interruption', () => {
    expect(interrupt(READING)).toEqual(OPENING);
    for (const reader of [INITIAL, OPENING, AWAY, finish(READING)]) {
      expect(interrupt(reader)).toBe(reader);
    }
  });

  it('leaves once, comes back once, and neither after the end', () => {
    const over = finish(READING);
    for (const gone of [AWAY, detach(INITIAL), over]) expect(detach(gone)).toBe(gone);
    for (const there of [INITIAL, OPENING, READING, over]) expect(resume(there)).toBe(there);
    expect(acceptReply(over, false)).toBe(over);
    expect(finish(over)).toEqual(over);
  });
});
