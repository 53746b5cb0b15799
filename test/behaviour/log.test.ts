import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLog } from '../../packages/server/src/deliver/log.js';
import type { Entry } from '../../packages/server/src/entry.js';

const START: Entry = {
  type: 'start',
  attempt: 1,
  source: 'model',
  provider: 'p',
  model: 'm',
};
const CANCELLED: Entry = { type: 'error', code: 'cancelled', message: 'unable to go on' };

function logOf(...entries: Entry[]) {
  const log = createLog();
  for (const entry of entries) log.append(entry);
  return log;
}

const text = (value: string): Entry => ({ type: 'text', text: value });

describe('a log', () => {
  it('merges what was appended since the last read into one frame', () => {
    const log = logOf(START, text('Hel'), text('lo'), text(' you'));
    expect(log.read(1, 100)).toEqual({ offset: 1, size: 9, entry: text('Hello you') });
    expect(log.read(10, 100)).toBeUndefined();
  });

  it('takes nothing more after its end', () => {
    const log = logOf(START, text('a'), CANCELLED);
    expect(log.append(text('b'))).toBe(false);
    expect(log.head).toBe(3);
    expect(log.done).toBe(true);
  });

  it('counts a tool as one, and its bytes as what it was given and gave', () => {
    const call: Entry = { type: 'tool_call', callId: 'call-1', name: 't', arguments: {} };
    const result: Entry = {
      type: 'tool_result',
      callId: 'call-1',
      name: 't',
      result: 'x'.repeat(9_000),
    };
    const log = logOf(START, text('a'), call, result, text('b'));
    expect(log.read(2, 100)).toEqual({ offset: 2, size: 1, entry: call });
    expect(log.read(3, 100)).toEqual({ offset: 3, size: 1, entry: result });
    expect(log.read(4, 100)).toEqual({ offset: 4, size: 1, entry: text('b') });
    expect(log.bytes).toBeGreaterThan(18_000);
  });

  it('keeps a result as it was when it was appended', () => {
    const result = { places: ['sea'] };
    const log = logOf({ type: 'tool_result', callId: 'call-1', name: 't', result });
    result.places.push('lake');
    expect(log.read(0, 100)?.entry).toMatchObject({ result: { places: ['sea'] } });
  });

  it('is unchanged by an entry that cannot be written as JSON', () => {
    const log = logOf(START, text('a'));
    const { head, bytes } = log;
    const result: Entry = { type: 'tool_result', callId: 'call-1', name: 't', result: 1n };
    expect(() => log.append(result)).toThrow(TypeError);
    expect([log.head, log.bytes, log.textLength]).toEqual([head, bytes, 1]);
    log.append(text('b'));
    expect(log.read(1, 100)).toEqual({ offset: 1, size: 2, entry: text('ab') });
  });

  it('counts the text of the current attempt', () => {
    const call: Entry = { type: 'tool_call', callId: 'call-1', name: 't', arguments: {} };
    const log = logOf(START, text('Hello'), call, text(' you'));
    expect(log.textLength).toBe(9);
    log.append({ ...START, attempt: 2 });
    expect(log.textLength).toBe(0);
    log.append(text('Hi'));
    log.append(CANCELLED);
    expect(log.textLength).toBe(2);
  });

  it.each([1, 1_023, 1_024, 1_025, 16_384, 16_385, 1_100_000])(
    'gives back a text of %i units between others',
    (units) => {
      const long = '→river'.repeat(units).slice(0, units);
      const log = logOf(text('a'), text(long), text('b'), CANCELLED);
      let read = '';
      while (read.length < log.head - 1) {
        const entry = log.read(read.length, 4_096)?.entry;
        if (entry?.type !== 'text') break;
        read += entry.text;
      }
      expect(read === `a${long}b`).toBe(true);
    },
  );

  it('holds half of a surrogate pair back until the other half is there', () => {
    const [high, low] = ['🦊'.slice(0, 1), '🦊'.slice(1)];
    const log = logOf(START, text(`a${high}`));
    expect(log.read(1, 100)).toEqual({ offset: 1, size: 1, entry: text('a') });
    expect(log.read(2, 100)).toBeUndefined();
    log.append(text(low));
    expect(log.read(2, 100)).toEqual({ offset: 2, size: 2, entry: text('🦊') });
  });

  it('gives half of a pair that nothing can complete any more', () => {
    const half = '🦊'.slice(0, 1);
    const log = logOf(START, text(half), START, text('b'));
    expect(log.read(1, 100)?.entry).toEqual(text(half));
  });

  const entries = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.string({ unit: 'grapheme', minLength: 1 }).map(text) },
      { weight: 1, arbitrary: fc.string({ minLength: 900, maxLength: 1500 }).map(text) },
      { weight: 1, arbitrary: fc.constant(START) },
    ),
  );

  it('gives a reader of any appetite, at any moment, each entry once and in order', () => {
    fc.assert(
      fc.property(
        entries,
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }),
        (all, appetites) => {
          const log = createLog();
          let offset = 0;
          let read = '';
          let turn = 0;
          const readSome = (): void => {
            for (;;) {
              const max = appetites[turn++ % appetites.length]!;
              const frame = log.read(offset, max);
              if (frame === undefined) return;
              expect(frame.offset).toBe(offset);
              expect(frame.size).toBeLessThanOrEqual(Math.max(2, max));
              offset += frame.size;
              if (frame.entry.type === 'text') {
                expect(frame.entry.text.isWellFormed()).toBe(true);
                read += frame.entry.text;
              } else read += `<${frame.entry.type}>`;
            }
          };
          for (const [i, entry] of all.entries()) {
            log.append(entry);
            if (i % 3 === 0) readSome();
          }
          log.append(CANCELLED);
          readSome();
          const written = all.map((e) => (e.type === 'text' ? e.text : `<${e.type}>`)).join('');
          expect(read).toBe(`${written}<error>`);
          expect(offset).toBe(log.head);
        },
      ),
    );
  });
});
