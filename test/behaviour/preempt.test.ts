import type { NewsEntry } from '../../packages/server/src/entry.js';
import { resolveSettings } from '@rivulet/server';
import { EVENT, type StreamQueuedMessage } from '@rivulet/protocol';
import { Subject, switchMap } from 'rxjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { LeaveReason } from '../../packages/server/src/deliver/stream.js';
import { StreamRegistry } from '../../packages/server/src/deliver/stream-registry.js';
import { answer, queryOf } from '../harness/ask.js';
import { ownClock, settled } from '../harness/clock.js';
import { connect, next } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { providerConfigOf } from '../harness/providers.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { serviceOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { held } from '../harness/tools.js';

const AGES_MS = 1_000_000;

describe('a stream in its detach timeout', () => {
  let streams: StreamRegistry | undefined;

  /** StreamRegistry of a provider with so many slots. A query's first letter is the principal. */
  function serve(concurrency: number, options: Parameters<typeof serviceOf>[1] = {}) {
    const { provider, calls, nextCall } = stage('model');
    const providers = [providerConfigOf(provider, { concurrency })] as const;
    const llm = serviceOf(provider, { cache: undefined, providers, ...options });
    const own = new StreamRegistry(
      (request, sink, { signal, preemption }) =>
        llm.writeResponse(request, sink, { signal, preemption }),
      resolveSettings({ env: {} }).limits,
    );
    streams = own;

    /** Starts a stream and reads it. */
    function open(query: string, id = query) {
      const principal = query[0]!;
      const stream = own.start(
        { principal, id, sessionId: undefined, query },
        { query, principal },
      );
      const places: number[] = [];
      const sink = {
        writable: () => true,
        send() {},
        sendNews: (news: NewsEntry) => void places.push(news.type === 'queued' ? news.ahead : NaN),
        drop() {},
        forget() {},
      };
      const read = () => stream.read({ offset: 0, window: undefined, readerId: 'reader' }, sink);
      let subscription = read();
      return {
        stream,
        places,
        leave: (how: LeaveReason = 'detached') => stream.leave(subscription, how),
        comeBack: () => void (subscription = read()),
        get end() {
          const { log } = stream;
          return log.done ? log.read(log.head - 1, 1)?.entry : undefined;
        },
      };
    }
    const asked = (): string[] => calls.map(queryOf);
    return { llm, streams: own, open, asked, nextCall };
  }

  ownClock();
  afterEach(async () => {
    streams?.close();
    await settled();
  });

  it('keeps its slot for two seconds while no request waits for it', async () => {
    const { open, nextCall } = serve(1);
    const left = open('A0');
    const call = await nextCall();
    left.leave();
    await vi.advanceTimersByTimeAsync(1_999);
    expect(left.end).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(left.end).toMatchObject({ code: 'cancelled' });
    await call.aborted;
  });

  it('is read again within them', async () => {
    const { open, nextCall } = serve(1);
    const left = open('A0');
    const call = await nextCall();
    left.leave();
    await settled();
    left.comeBack();
    const other = open('B0');
    await vi.advanceTimersByTimeAsync(2_000);
    expect([left.end, other.places]).toEqual([undefined, [1]]);
    answer(call);
    await settled();
    expect(left.end).toMatchObject({ type: 'end' });
  });

  it.each(['A1', 'B0'])('gives its slot up at once when %s comes', async (query) => {
    const { open, nextCall } = serve(1);
    const left = open('A0');
    const call = await nextCall();
    left.leave();
    await settled();
    open(query);
    await call.aborted;
    expect(left.end).toMatchObject({ code: 'cancelled' });
    expect(queryOf(await nextCall())).toBe(query);
  });

  it('gives its slot up at once when another request waits already', async () => {
    const { open, nextCall } = serve(1);
    const left = open('A0');
    const call = await nextCall();
    open('B0');
    await settled();
    left.leave();
    await call.aborted;
    expect(queryOf(await nextCall())).toBe('B0');
  });

  it('keeps its slot when its reader is back in the same turn, though others wait', async () => {
    const { open, nextCall } = serve(1);
    const left = open('A0');
    await nextCall();
    const other = open('B0');
    left.leave();
    left.comeBack();
    await settled();
    expect([left.end, other.places]).toEqual([undefined, [1]]);
  });

  it('has readers that are to come back where one of them was cut off', async () => {
    const { open, nextCall } = serve(1);
    const cutOff = open('A0');
    await nextCall();
    const other = open('B0');
    cutOff.leave('lost');
    await settled();
    expect([cutOff.end, other.places]).toEqual([undefined, [1]]);
    cutOff.stream.forgetLostReader('reader');
    expect(queryOf(await nextCall())).toBe('B0');
  });

  it('gives up one slot for each request that waits, the one that was left first', async () => {
    const { open, nextCall, asked } = serve(3);
    const all = [open('A0'), open('A1'), open('A2')];
    for (const _ of all) await nextCall();
    for (const index of [2, 0]) {
      all[index]!.leave();
      await settled();
    }
    open('B0');
    await settled();
    expect(all.map(({ end }) => end !== undefined)).toEqual([false, false, true]);
    open('B1');
    open('B2');
    await settled();
    expect(all.map(({ end }) => end !== undefined)).toEqual([true, false, true]);
    expect(asked().slice(3)).toEqual(['B0', 'B1']);
  });

  it('keeps its slot where only others wait that were left, too, until one comes back', async () => {
    const { open, nextCall } = serve(1);
    const left = open('A0');
    await nextCall();
    const waiting = open('B0');
    waiting.leave();
    await settled();
    left.leave();
    await settled();
    expect(left.end).toBeUndefined();
    waiting.comeBack();
    await settled();
    expect(left.end).toMatchObject({ code: 'cancelled' });
    expect(queryOf(await nextCall())).toBe('B0');
  });

  describe('that waits for a slot', () => {
    it('delays no other: it is neither counted nor asked before them', async () => {
      const { open, nextCall } = serve(1);
      open('A0');
      const call = await nextCall();
      const left = open('B0');
      const [c, d] = [open('C0'), open('D0')];
      await settled();
      left.leave();
      await settled();
      expect([c.places, d.places]).toEqual([
        [2, 1],
        [3, 2],
      ]);
      answer(call);
      expect(queryOf(await nextCall())).toBe('C0');
    });

    it('has its place again when its reader comes back', async () => {
      const { open, nextCall } = serve(1);
      open('A0');
      await nextCall();
      const left = open('B0');
      const other = open('C0');
      await settled();
      left.leave();
      await settled();
      left.comeBack();
      await settled();
      expect([left.places.at(-1), other.places]).toEqual([1, [2, 1, 2]]);
    });

    it('is asked when no other waits, and gives its slot up to the next that comes', async () => {
      const { open, nextCall } = serve(1);
      open('A0');
      const call = await nextCall();
      open('B0').leave();
      await settled();
      answer(call);
      expect(queryOf(await nextCall())).toBe('B0');
      open('C0');
      expect(queryOf(await nextCall())).toBe('C0');
    });

    it('makes room for another where the queue is full', async () => {
      const { open, nextCall } = serve(1, { limits: { maxQueued: 2 } });
      open('A0');
      await nextCall();
      const [b, c] = [open('B0'), open('C0')];
      await settled();
      b.leave();
      await settled();
      const d = open('D0');
      await settled();
      expect(b.end).toMatchObject({ code: 'cancelled' });
      expect([c.places.at(-1), d.places.at(-1)]).toEqual([1, 2]);
      const e = open('E0');
      await settled();
      expect(e.end).toMatchObject({ code: 'overloaded' });
    });

    it('makes room only as far as it is necessary', async () => {
      const { open, nextCall } = serve(1, { limits: { maxQueued: 3 } });
      open('A0');
      await nextCall();
      const waiting = [open('B0'), open('C0'), open('D0')];
      await settled();
      for (const index of [2, 1]) {
        waiting[index]!.leave();
        await settled();
      }
      open('E0');
      await settled();
      expect(waiting.map(({ end }) => end !== undefined)).toEqual([false, false, true]);
    });

    it('makes room for another of its principal, and no other of that does', async () => {
      const { open, nextCall } = serve(1, { limits: { maxQueued: 3 } });
      open('A0');
      await nextCall();
      const waiting = [open('B0'), open('B1')];
      waiting[1]!.leave();
      await settled();
      const last = open('B2');
      await settled();
      expect([...waiting, last].map(({ end }) => end !== undefined)).toEqual([false, true, false]);
    });

    it('is of no use to a principal that would have more than its share again', async () => {
      const { open, nextCall } = serve(1, { limits: { maxQueued: 4 } });
      open('A0');
      await nextCall();
      const first = [open('B0'), open('B1')];
      for (const { leave } of first) leave();
      await settled();
      const second = [open('B2'), open('B3'), open('B4')];
      await settled();
      const codes = [...first, ...second].map(({ end }) => end && 'code' in end && end.code);
      expect(codes).toEqual(['cancelled', 'cancelled', undefined, undefined, 'overloaded']);
    });

    it('goes after all others also when its answer is under way', async () => {
      const { tool, runs } = held('look');
      const { open, nextCall, asked } = serve(1, { tools: [tool] });
      const left = open('A0');
      const call = await nextCall();
      call.callTool('look', { of: 'it' });
      call.finish();
      await settled();
      open('B0');
      const busy = await nextCall();
      open('C0');
      left.leave();
      await settled();
      runs[0]!.give('found');
      await settled();
      answer(busy);
      await settled();
      expect(asked()).toEqual(['A0', 'B0', 'C0']);
    });
  });

  describe('that shares its generation with another', () => {
    it('gives no slot up before the other is left, too', async () => {
      const { open, nextCall } = serve(1);
      const [one, two] = [open('A0', 'one'), open('A0', 'two')];
      const call = await nextCall();
      open('B0');
      one.leave();
      await settled();
      expect([one.end, two.end]).toEqual([undefined, undefined]);
      two.leave();
      await call.aborted;
      expect([one.end, two.end]).toMatchObject([{ code: 'cancelled' }, { code: 'cancelled' }]);
      expect(queryOf(await nextCall())).toBe('B0');
    });

    it('gives its slot up when the other is cancelled', async () => {
      const { open, nextCall, streams: all } = serve(1);
      const [one, two] = [open('A0', 'one'), open('A0', 'two')];
      const call = await nextCall();
      open('B0');
      one.leave();
      await settled();
      all.cancel(two.stream);
      await expect(call.aborted).resolves.toBeUndefined();
    });

    it('keeps its slot for a stream that comes later', async () => {
      const { open, nextCall } = serve(1);
      const one = open('A0', 'one');
      await nextCall();
      one.leave();
      await settled();
      const two = open('A0', 'two');
      const other = open('B0');
      await settled();
      expect([one.end, two.end, other.places]).toEqual([undefined, undefined, [1]]);
    });
  });
});

describe('a reader that asks something else', () => {
  /** Nothing ends by time here. */
  async function oneAtATime() {
    const { provider, nextCall } = stage('model');
    const { url } = await startServer(provider, {
      providers: [providerConfigOf(provider, { concurrency: 1 })],
      limits: { detachTimeoutMs: AGES_MS },
    });
    return { url, nextCall };
  }

  it('is answered without a wait for the answer that it left, with `switchMap`', async () => {
    const { url, nextCall } = await oneAtATime();
    const client = sdk(url);
    const questions = new Subject<string>();
    const answers = questions.pipe(switchMap((query) => client.stream({ query })));
    const subscription = answers.subscribe();
    questions.next('a');
    const left = await nextCall();
    questions.next('b');
    await left.aborted;
    expect(queryOf(await nextCall())).toBe('b');
    subscription.unsubscribe();
  });

  it('is answered without a wait where it leaves only after it has asked', async () => {
    const { url, nextCall } = await oneAtATime();
    const client = sdk(url);
    const a = client.start({ query: 'a' });
    await nextCall();
    const b = client.start({ query: 'b' });
    await snapshotWhen(b, ({ ahead }) => ahead === 1);
    a.release();
    expect(queryOf(await nextCall())).toBe('b');
  });

  it('reads on where a view replaces another, though a question waits', async () => {
    const { url, nextCall } = await oneAtATime();
    const client = sdk(url);
    const a = client.start({ query: 'a' });
    const call = await nextCall();
    const b = client.start({ query: 'b' });
    await snapshotWhen(b, ({ ahead }) => ahead === 1);
    a.release();
    const again = client.resume(a.id);
    await snapshotWhen(again, ({ status }) => status === 'waiting');
    answer(call);
    expect(await again.result).toMatchObject({ status: 'done', text: 'a' });
  });

  it('leaves a wait that tells others to move up', async () => {
    const { url } = await oneAtATime();
    const [me, other] = [
      connect(url, { browser_id: 'the-browser-of-the-first-visitor' }),
      connect(url, { browser_id: 'the-browser-of-someone-else' }),
    ];
    await me.emitWithAck(EVENT.start, { query: 'a', stream_id: 'A' });
    await other.emitWithAck(EVENT.start, { query: 'b', stream_id: 'B' });
    const told = next<StreamQueuedMessage>(me, EVENT.queued);
    await me.emitWithAck(EVENT.start, { query: 'c', stream_id: 'C' });
    expect((await told).ahead).toBe(2);
    const moved = next<StreamQueuedMessage>(me, EVENT.queued);
    await other.emitWithAck(EVENT.detach, { stream_id: 'B' });
    expect((await moved).ahead).toBe(1);
  });
});
