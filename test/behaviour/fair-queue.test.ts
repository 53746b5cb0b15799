import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createQueue, type Slot } from '../../packages/server/src/upstream/queue.js';
import { answer, ask, queryOf } from '../harness/ask.js';
import { ownClock, settled } from '../harness/clock.js';
import { providerConfigOf } from '../harness/providers.js';
import { serviceOf, textOf } from '../harness/service.js';
import { type Call, stage } from '../harness/stage.js';
import { held } from '../harness/tools.js';

type Options = Parameters<typeof serviceOf>[1];

/** A provider with so many slots, asked by principals that are named by the first letter of a query. */
function shared(concurrency: number, options: Options = {}) {
  const { provider, calls, ...played } = stage('model');
  const llm = serviceOf(provider, {
    providers: [providerConfigOf(provider, { concurrency })],
    cache: undefined,
    ...options,
  });
  let taken = 0;
  const nextCall = (): Promise<Call> => {
    taken += 1;
    return played.nextCall();
  };

  return {
    llm,
    nextCall,
    asks: (...queries: string[]) =>
      queries.map((query) => ask(llm, query, { principal: query[0]! })),
    asked: (): string[] => calls.map(queryOf),
    /** Answers the calls that were not taken, in the order of their coming, until none comes any more. */
    async answerAll(): Promise<void> {
      await settled();
      while (taken < calls.length) {
        answer(await nextCall());
        await settled();
      }
    },
  };
}

ownClock();

describe('principals that wait for one slot', () => {
  it('take at most 16 turns where they have one address, and otherwise each its own', async () => {
    const { llm } = shared(1);
    const asks = (principal: string, fairnessKey: string) =>
      ask(llm, principal, { principal, fairnessKey });
    const running = asks('running', 'one');
    const waiting = Array.from({ length: 20 }, () => asks('C', 'one'));
    await settled();
    const next = asks('B', 'one');
    await settled();
    expect(waiting[0]!.places).toEqual([1]);
    expect(next.places).toEqual([2]);
    const browsers = Array.from({ length: 40 }, (_, i) => asks(`browser ${i}`, 'one'));
    const others = [asks('other', 'two'), asks('other', 'two')];
    await settled();
    expect(others[0]!.places[0]).toBeLessThanOrEqual(16);
    expect(others[1]!.places[0]).toBeLessThanOrEqual(33);
    for (const asked of [running, ...waiting, next, ...browsers, ...others]) asked.cancel();
    await settled();
  });

  it('go after one request of a principal that asked thirty', async () => {
    const { asks, asked, nextCall, answerAll } = shared(1);
    asks(...Array.from({ length: 30 }, (_, i) => `A${i}`));
    const [b] = asks('B0');
    await settled();
    expect(b!.places).toEqual([1]);
    answer(await nextCall());
    answer(await nextCall());
    expect(textOf(await b!.ended)).toBe('B0');
    await answerAll();
    expect(asked().slice(0, 4)).toEqual(['A0', 'B0', 'A1', 'A2']);
  });

  it('take turns, and each of them is answered in the order of its questions', async () => {
    const { asks, asked, answerAll } = shared(1);
    const all = asks('A0', 'A1', 'A2', 'A3', 'B0', 'B1', 'B2', 'C0', 'C1');
    await settled();
    expect(all.map(({ places }) => places[0])).toEqual([undefined, 3, 6, 8, 1, 4, 7, 2, 5]);
    await answerAll();
    expect(asked()).toEqual(['A0', 'B0', 'C0', 'A1', 'B1', 'C1', 'A2', 'B2', 'A3']);
  });

  it('make room for one that comes while they wait, behind those whose turn is next', async () => {
    const { asks, asked, nextCall, answerAll } = shared(1);
    const [, a1, a2] = asks('A0', 'A1', 'A2', 'B0', 'B1');
    answer(await nextCall());
    await settled();
    expect([a1!.places.at(-1), a2!.places.at(-1)]).toEqual([1, 3]);
    const [c] = asks('C0');
    await settled();
    expect(c!.places).toEqual([2]);
    expect([a1!.places.at(-1), a2!.places.at(-1)]).toEqual([1, 4]);
    answer(await nextCall());
    await answerAll();
    expect(asked()).toEqual(['A0', 'B0', 'A1', 'C0', 'B1', 'A2']);
  });

  it('move up when one in the middle leaves, and the next of its principal has its turn', async () => {
    const { asks, asked, answerAll } = shared(1);
    const [, a1, , b0, b1] = asks('A0', 'A1', 'A2', 'B0', 'B1');
    await settled();
    b0!.cancel();
    await settled();
    expect([a1!.places, b1!.places]).toEqual([[2], [3, 1]]);
    await answerAll();
    expect(asked()).toEqual(['A0', 'B1', 'A1', 'A2']);
  });

  it('are each their own where requests name no principal', async () => {
    const { llm, asks, asked, answerAll } = shared(1);
    asks('A0', 'A1', 'A2');
    const [x, y] = [ask(llm, 'x'), ask(llm, 'y')];
    await settled();
    expect([x.places, y.places]).toEqual([[1], [2]]);
    await answerAll();
    expect(asked()).toEqual(['A0', 'x', 'y', 'A1', 'A2']);
  });
});

describe('principals that wait for several slots', () => {
  it('go first where they hold fewer of them', async () => {
    const { asks, asked, answerAll } = shared(4);
    const all = asks('A0', 'A1', 'A2', 'A3', 'A4', 'A5', 'A6', 'B0', 'B1', 'B2');
    await settled();
    expect(all.slice(4).map(({ places }) => places[0])).toEqual([3, 4, 6, 1, 2, 5]);
    await answerAll();
    expect(asked().slice(4)).toEqual(['B0', 'B1', 'A4', 'A5', 'B2', 'A6']);
  });

  it('are never passed by one that holds more, whichever answer ends first', async () => {
    const { asks, asked, nextCall, answerAll } = shared(3);
    asks('A0', 'B0', 'C0', 'A1', 'B1', 'C1', 'D0');
    const [a, b, c] = [await nextCall(), await nextCall(), await nextCall()];
    answer(c);
    await settled();
    expect(asked()).toEqual(['A0', 'B0', 'C0', 'D0']);
    for (const call of [a, b]) answer(call);
    await answerAll();
  });
});

it('an answer under way goes before all that wait, however many slots its principal holds', async () => {
  const { tool, runs } = held('look');
  const { asks, asked, nextCall, answerAll } = shared(2, { tools: [tool] });
  asks('A0', 'A1');
  const first = await nextCall();
  const second = await nextCall();
  const [, c0] = asks('B0', 'C0');
  first.callTool('look', { of: 'it' });
  first.finish();
  const b0 = await nextCall();
  expect(queryOf(b0)).toBe('B0');
  await settled();
  expect(c0!.places).toEqual([2, 1]);
  runs[0]!.give('found');
  await settled();
  expect(c0!.places).toEqual([2, 1, 2]);
  answer(b0);
  const again: Call = await nextCall();
  expect(again.prompt.messages.at(-1)).toMatchObject({ role: 'tool' });
  expect(asked()).not.toContain('C0');
  answer(again);
  answer(second);
  await answerAll();
  expect(asked().at(-1)).toBe('C0');
});

describe('a queue that one principal fills', () => {
  const codeOf = ({ last }: ReturnType<typeof ask>) => (last?.type === 'error' ? last.code : 'ok');

  it('takes half as many as it has places, and then those of others', async () => {
    const { llm, asks, answerAll } = shared(1, { limits: { maxQueued: 8 } });
    const mine = asks('A0', 'A1', 'A2', 'A3', 'A4', 'A5', 'A6');
    await settled();
    expect(mine.map(codeOf)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'overloaded', 'overloaded']);
    expect(mine.at(-1)!.last).toMatchObject({
      message: expect.stringContaining('4 requests from you or your network wait for it already'),
      retryAfterMs: expect.any(Number),
    });
    const others = asks('B0', 'B1', 'B2', 'C0', 'D0', 'E0');
    await settled();
    expect(others.map(codeOf)).toEqual(['ok', 'ok', 'overloaded', 'ok', 'ok', 'overloaded']);
    expect(others.at(-1)!.last).toMatchObject({
      message: expect.stringContaining('8 requests wait for it already'),
    });
    expect(llm.providerStatus()).toMatchObject([{ running: 1, waiting: 8 }]);
    await answerAll();
  });

  it('takes one more of it for each that leaves', async () => {
    const { asks, answerAll } = shared(1, { limits: { maxQueued: 4 } });
    const [, a1] = asks('A0', 'A1', 'A2', 'A3');
    await settled();
    a1!.cancel();
    await settled();
    const [a4] = asks('A4');
    await answerAll();
    expect(textOf(await a4!.ended)).toBe('A4');
  });
});

it('requests go in the order that they were told, if slots are released in order and none comes', async () => {
  const arrival = fc.record({
    principal: fc.constantFrom('a', 'b', 'c', 'd'),
    isUnderWay: fc.boolean(),
    /** Releases the slot that was acquired first, before this request comes. */
    releases: fc.boolean(),
    /** The request that came last leaves, if it waits. */
    leaves: fc.boolean(),
  });
  const inOrder = fc.asyncProperty(fc.array(arrival, { maxLength: 40 }), async (arrivals) => {
    for (const concurrency of [1, 2, 5]) {
      const queue = createQueue({ name: 'model', concurrency, maxQueued: 1_000 });
      const { signal } = new AbortController();
      const acquired: Slot[] = [];
      const waiting = new Set<Slot>();
      const note = (): void => {
        for (const slot of waiting) {
          if (!slot.isAcquired) continue;
          waiting.delete(slot);
          acquired.push(slot);
        }
      };
      for (const { principal, isUnderWay, releases, leaves } of arrivals) {
        if (releases) acquired.shift()?.release();
        const last = [...waiting].at(-1);
        if (leaves && last !== undefined) {
          last.release();
          waiting.delete(last);
        }
        note();
        waiting.add(queue.join({ principal, signal }, isUnderWay, () => {}));
        note();
      }
      await nextTurn();
      const told = [...waiting].sort((a, b) => a.ahead! - b.ahead!);
      expect(told.map(({ ahead }) => ahead)).toEqual(told.map((_, i) => i + 1));
      for (const expected of told) {
        acquired.shift()!.release();
        note();
        expect(acquired.at(-1)).toBe(expected);
      }
    }
  });
  await fc.assert(inOrder, { numRuns: 200 });
});
