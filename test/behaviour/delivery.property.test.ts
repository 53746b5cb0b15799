import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LogSegment as ReceivedFrame } from '../../packages/client/src/connection/log-segment.js';
import {
  NOTHING_RECEIVED,
  receive,
  type ReceivedAnswer,
} from '../../packages/client/src/answer/receive.js';
import { createLogView } from '../../packages/server/src/deliver/log-view.js';
import { createLog, type Log } from '../../packages/server/src/deliver/log.js';
import type { Entry } from '../../packages/server/src/entry.js';
import { schedules, text } from '../harness/delivery/steps.js';
import {
  EMPTY,
  partsPair,
  readable,
  toldBy,
  toldTo,
  type Truth,
  upTo,
  withEntry,
} from '../harness/delivery/truth.js';
import { World } from '../harness/delivery/world.js';
import { worldClock } from '../harness/delivery/world-clock.js';

const CANCELLED: Entry = { type: 'error', code: 'cancelled', message: 'unable to go on' };

/** Slow machines do fewer. */
const TIME_MS = 6_000;

const start: Entry = { type: 'start', attempt: 1, source: 'model', provider: 'p', model: 'm' };
const call: Entry = { type: 'tool_call', callId: 'call-1', name: 't', arguments: {} };
const entries = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: text.map((value): Entry => ({ type: 'text', text: value })) },
    { weight: 1, arbitrary: fc.constantFrom(start, call) },
  ),
  { minLength: 1, maxLength: 10 },
);
const appetites = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 5 });

describe('whatever happens to whom, and when', () => {
  const clock = worldClock();

  it('every reader has the exact log so far at every moment, and all of it in the end', async () => {
    const property = fc.asyncProperty(schedules, async (steps) => {
      const world = new World(clock);
      try {
        for (const { happen } of steps) {
          // Other steps may run during the `await`.
          const turn = happen(world);
          if (turn) await turn;
        }
        await world.settle();
        world.checkSettled();
        for (const generation of world.generations) generation.end();
        await world.settle();
        world.checkSettled();
        expect(world.readers.every(({ isDone }) => isDone)).toBe(true);
      } finally {
        world.close();
      }
    });
    await fc.assert(property, { numRuns: 1_000, interruptAfterTimeLimit: TIME_MS });
  });
});

describe('a branch that is cut at any moment', () => {
  it('is what the log was at that moment, and its own end, for any appetite', () => {
    const property = fc.property(entries, fc.nat(10), appetites, (all, cutAfter, sizes) => {
      const trunk = createLog();
      const branch = createLogView(trunk);
      let truth = EMPTY;
      let whole = EMPTY;
      for (const [i, entry] of all.entries()) {
        if (i === cutAfter) branch.append(CANCELLED);
        else if (i < cutAfter) truth = withEntry(truth, entry);
        trunk.append(entry);
        whole = withEntry(whole, entry);
        expect(trunk.textLength).toBe(toldBy(whole).text.length);
        if (!branch.done) expect(branch.textLength).toBe(trunk.textLength);
      }
      const cut = withEntry(upTo(truth, readable(truth)), CANCELLED);
      if (!branch.done) branch.append(CANCELLED);
      trunk.append(CANCELLED);
      expect(readAll(branch, sizes)).toEqual(cut);
      expect([branch.head, branch.done]).toEqual([cut.units.length, true]);
      expect(branch.textLength).toBe(toldBy(cut).text.length);
    });
    fc.assert(property, { interruptAfterTimeLimit: TIME_MS });
  });
});

describe('a client that is given pieces of a log', () => {
  const pieces = fc.array(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 30 })), {
    maxLength: 40,
  });

  it('has a beginning of it, from whatever overlaps, repeats or leaves gaps', () => {
    const property = fc.property(entries, pieces, (all, places) => {
      const truth = [...all, CANCELLED].reduce(withEntry, EMPTY);
      let state: ReceivedAnswer = NOTHING_RECEIVED;
      for (const [back, size] of places) {
        // From a little beyond what is here, which is a gap, down to what came long ago.
        const offset = Math.min(truth.units.length - 1, Math.max(0, state.offset + 3 - back));
        const next = receive(state, pieceOf(truth, offset, size));
        expect(next === 'gap').toBe(offset > state.offset);
        if (next !== undefined && next !== 'gap') state = next.received;
        expect(toldTo(state)).toEqual(toldBy(upTo(truth, state.offset)));
      }
    });
    fc.assert(property, { numRuns: 500, interruptAfterTimeLimit: TIME_MS });
  });
});

/** Reads a log to its end, a few units at a time. */
function readAll(log: Log, sizes: readonly number[]): Truth {
  let truth = EMPTY;
  for (let turn = 0; ; turn++) {
    const offset = truth.units.length;
    const size = sizes[turn % sizes.length]!;
    const frame = log.read(offset, size);
    if (frame === undefined) return truth;
    truth = withEntry(truth, frame.entry);
    expect(frame).toMatchObject({ offset, size: truth.units.length - offset });
    expect(frame.size).toBeLessThanOrEqual(Math.max(2, size));
    expect(partsPair(truth, offset)).toBe(false);
  }
}

/** A frame as a server may send it: at most `size` units of one text, or one other entry. */
function pieceOf({ units, marks }: Truth, offset: number, size: number): ReceivedFrame {
  const mark = marks.find(([at]) => at === offset)?.[1];
  if (mark === undefined) {
    const end = marks.find(([at]) => at > offset)?.[0] ?? units.length;
    const piece = units.slice(offset, Math.min(end, offset + size));
    return { offset, size: piece.length, entry: { type: 'text', text: piece } };
  }
  switch (mark.type) {
    case 'start':
      return { offset, size: 1, entry: { ...mark, reason: mark.reason, omittedMessages: 0 } };
    case 'error': {
      const { code, message } = mark;
      return {
        offset,
        size: 1,
        entry: { type: 'error', error: { code, message, retryable: false } },
      };
    }
    case 'end':
    case 'tool_result':
      throw new Error('no log here has one');
    case 'thought':
    case 'tool_call':
    case 'tool_decision':
      return { offset, size: 1, entry: mark };
  }
}
