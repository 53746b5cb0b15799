import { describe, expect, it } from 'vitest';
import {
  cameBack,
  ended,
  interrupted,
  left,
  lookedUp,
  LOOKING,
  type Reader,
  replied,
} from '../../packages/client/src/answer/reader.js';

const OPENING: Reader = { status: 'opening', isBack: false };
const READING: Reader = { status: 'reading', hadEnded: false };
const AWAY: Reader = { status: 'away' };

describe('a reader', () => {
  it('opens the stream once what was kept has been looked up, if it is still wanted', () => {
    expect(lookedUp(LOOKING)).toEqual(OPENING);
    expect(lookedUp(left(LOOKING))).toEqual(AWAY);
    expect(lookedUp(cameBack(left(LOOKING)))).toEqual({ status: 'opening', isBack: true });
  });

  it('knows that the stream had ended while it was away, and only then', () => {
    expect(replied(OPENING, true)).toEqual(READING);
    const back = cameBack(left(READING));
    expect(replied(back, false)).toEqual(READING);
    const late = replied(back, true);
    expect(late).toEqual({ status: 'reading', hadEnded: true });
    expect(ended(late)).toEqual({ status: 'over', hadEnded: true });
    expect(replied(interrupted(back), true)).toEqual(late);
  });

  it('has to open the stream again after an interruption', () => {
    expect(interrupted(READING)).toEqual(OPENING);
    for (const reader of [LOOKING, OPENING, AWAY, ended(READING)]) {
      expect(interrupted(reader)).toBe(reader);
    }
  });

  it('leaves once, comes back once, and neither after the end', () => {
    const over = ended(READING);
    for (const gone of [AWAY, left(LOOKING), over]) expect(left(gone)).toBe(gone);
    for (const there of [LOOKING, OPENING, READING, over]) expect(cameBack(there)).toBe(there);
    expect(replied(over, false)).toBe(over);
    expect(ended(over)).toEqual(over);
  });
});
