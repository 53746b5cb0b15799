import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LogSegment } from '../../packages/client/src/connection/log-segment.js';
import {
  NOTHING_RECEIVED,
  receive,
  receiveQueued,
  type ReceivedAnswer,
  toolsOf,
  withoutEnd,
} from '../../packages/client/src/answer/receive.js';

const START: LogSegment['entry'] = {
  type: 'start',
  attempt: 1,
  source: 'model',
  provider: 'p',
  model: 'm',
  reason: undefined,
  omittedMessages: 0,
};
const text = (offset: number, value: string): LogSegment => ({
  offset,
  size: value.length,
  entry: { type: 'text', text: value },
});

function received(state: ReceivedAnswer, ...frames: LogSegment[]): ReceivedAnswer | 'gap' {
  let current = state;
  for (const frame of frames) {
    const step = receive(current, frame);
    if (step === 'gap') return 'gap';
    current = step?.received ?? current;
  }
  return current;
}

describe('receiving', () => {
  it('drops what is here already', () => {
    const state = received(NOTHING_RECEIVED, text(0, 'Hello')) as ReceivedAnswer;
    expect(receive(state, text(0, 'Hello'))).toBeUndefined();
    expect(receive(state, text(2, 'llo'))).toBeUndefined();
  });

  it('takes the new part of an overlap', () => {
    const state = received(NOTHING_RECEIVED, text(0, 'Hello')) as ReceivedAnswer;
    expect(receive(state, text(3, 'lo you'))).toMatchObject({
      received: { text: 'Hello you', offset: 9 },
      events: [{ type: 'text', text: ' you' }],
    });
  });

  it('finds a gap where something is missing', () => {
    expect(received(NOTHING_RECEIVED, text(0, 'Hello'), text(6, 'you'))).toBe('gap');
  });

  it('begins the text again with each attempt', () => {
    const state = received(
      NOTHING_RECEIVED,
      { offset: 0, size: 1, entry: START },
      text(1, 'Lon'),
      { offset: 4, size: 1, entry: { ...START, attempt: 2, reason: 'cut' } },
      text(5, 'Paris'),
    );
    expect(state).toMatchObject({ text: 'Paris', attempt: { attempt: 2, reason: 'cut' } });
  });

  it('takes each new frame for the end of a wait, and an old one not', () => {
    const queued = receiveQueued(received(NOTHING_RECEIVED, text(0, 'Lon')) as ReceivedAnswer, 2);
    expect(received(queued, text(0, 'Lon'))).toMatchObject({ ahead: 2 });
    expect(received(queued, text(3, 'don'))).toMatchObject({ ahead: 0, text: 'London' });
  });

  it('can be taken up again before an end that was not looked into yet', () => {
    const before = received(
      NOTHING_RECEIVED,
      { offset: 0, size: 1, entry: START },
      text(1, 'Paris'),
    );
    if (before === 'gap') throw new Error('a gap');
    const end = { finishReason: 'stop', totalLength: 5, digest: '', usage: {} } as const;
    const entry = { type: 'end', ...end, timing: { total_ms: 1 } } as const;
    const whole = received(before, { offset: 6, size: 1, entry });
    expect(whole).toMatchObject({ offset: 7, terminal: entry });
    expect(withoutEnd(whole as ReceivedAnswer)).toEqual(before);
    expect(withoutEnd(before)).toBe(before);
  });

  it('keeps of the tool calls what the log has below a later attempt, wherever that begins', () => {
    const call = { type: 'tool_call', name: 't', arguments: {} } as const;
    const entries: LogSegment['entry'][] = [
      START,
      { ...call, callId: 'a', awaits: 'approval' },
      { ...call, callId: 'b' },
      { type: 'tool_decision', callId: 'a', name: 't', approved: true },
      { type: 'text', text: '.' },
      { type: 'tool_result', callId: 'b', name: 't', error: 'none' },
      { type: 'tool_result', callId: 'a', name: 't', result: 1 },
      { ...call, callId: 'c', awaits: 'result' },
      { type: 'text', text: '.' },
    ];
    const log = entries.map((entry, offset): LogSegment => ({ offset, size: 1, entry }));
    for (const offset of entries.keys()) {
      const start: LogSegment = { offset, size: 1, entry: { ...START, attempt: 101 } };
      const whole = received(NOTHING_RECEIVED, ...log, start) as ReceivedAnswer;
      const below = received(NOTHING_RECEIVED, ...log.slice(0, offset)) as ReceivedAnswer;
      expect(whole.tools).toEqual(below.tools.map((use) => ({ ...use, textBefore: 0 })));
      expect(toolsOf(whole.toolEntries)).toEqual(whole.tools);
      expect(toolsOf(below.toolEntries)).toEqual(below.tools);
    }
  });

  it('gives the exact text for any overlaps, repeats and losses, when it attaches again at a gap', () => {
    const cuts = fc.array(fc.tuple(fc.nat(80), fc.integer({ min: 1, max: 30 })), { maxLength: 60 });
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 }),
        cuts,
        (whole, pieces) => {
          let state: ReceivedAnswer = NOTHING_RECEIVED;
          const hear = (offset: number, size: number): void => {
            const piece = whole.slice(offset, offset + size);
            if (piece === '') return;
            const step = receive(state, text(offset, piece));
            if (step === 'gap') {
              expect(offset).toBeGreaterThan(state.offset);
              hear(state.offset, size);
            } else state = step?.received ?? state;
          };
          for (const [offset, size] of pieces) hear(offset, size);
          expect(state.text).toBe(whole.slice(0, state.offset));
          while (state.offset < whole.length) hear(state.offset, 7);
          expect(state.text).toBe(whole);
        },
      ),
    );
  });
});
