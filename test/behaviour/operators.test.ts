import {
  perFrame,
  type ResponseEvent,
  retryTransient,
  type RetryTransientOptions,
  smooth,
  snapshots,
  StreamError,
  text,
} from '@rivulet/client';
import {
  asyncScheduler,
  concat,
  defer,
  from,
  ignoreElements,
  lastValueFrom,
  map,
  merge,
  NEVER,
  of,
  type OperatorFunction,
  take,
  tap,
  throwError,
  timer,
  toArray,
} from 'rxjs';
import { describe, expect, it } from 'vitest';
import { staged } from '../harness/sdk.js';
import { virtual } from '../harness/virtual.js';

const START: ResponseEvent = {
  type: 'start',
  attempt: 1,
  source: 'model',
  provider: 'stage',
  model: 'script',
};
const END: ResponseEvent = {
  type: 'end',
  finishReason: 'stop',
  usage: {},
  timing: { totalMs: 7 },
};

const EVENTS: ResponseEvent[] = [
  START,
  ...Array.from({ length: 999 }, () => ({ type: 'text', text: 'a' }) as const),
];

describe('an operator', () => {
  it.each<[string, ResponseEvent[] | string[], OperatorFunction<never, unknown>]>([
    ['text', EVENTS, text()],
    ['snapshots', EVENTS, snapshots()],
    ['perFrame', EVENTS, perFrame()],
    ['smooth', EVENTS.map((_, i) => 'a'.repeat(i)), smooth()],
    ['retryTransient', EVENTS, retryTransient()],
  ])('stops a synchronous source when its subscriber leaves: %s', async (_, values, operator) => {
    let pulled = 0;
    const source = from(values as never[]).pipe(tap(() => (pulled += 1)));
    await lastValueFrom(source.pipe(operator, take(1)));
    expect(pulled).toBe(1);
  });
});

describe('text', () => {
  it('is empty with the first event of any kind, as `text$` is at once', async () => {
    const events: ResponseEvent[] = [
      { type: 'queued', ahead: 1 },
      START,
      { type: 'text', text: 'a' },
    ];
    expect(await lastValueFrom(from(events).pipe(text(), toArray()))).toEqual(['', 'a']);
    const { client } = await staged();
    const seen: string[] = [];
    client.start({ query: 'q' }).text$.subscribe((soFar) => seen.push(soFar));
    expect(seen).toEqual(['']);
  });
});

describe('snapshots', () => {
  it('tells the answer so far after each event, frozen', async () => {
    const events: ResponseEvent[] = [
      { type: 'queued', ahead: 2 },
      START,
      { type: 'text', text: 'Where' },
      { type: 'tool_call', callId: 'a', name: 'map', arguments: {} },
      { type: 'tool_result', callId: 'a', name: 'map', result: 'here' },
      { type: 'text', text: ' it ends.' },
      END,
    ];
    const all = await lastValueFrom(from(events).pipe(snapshots(), toArray()));
    expect(all.map((s) => [s.status, s.ahead, s.text])).toEqual([
      ['queued', 2, ''],
      ['waiting', undefined, ''],
      ['streaming', undefined, 'Where'],
      ['streaming', undefined, 'Where'],
      ['streaming', undefined, 'Where'],
      ['streaming', undefined, 'Where it ends.'],
      ['done', undefined, 'Where it ends.'],
    ]);
    expect(all.every((s) => Object.isFrozen(s))).toBe(true);
    expect(all.at(-1)).toMatchObject({
      source: 'model',
      provider: 'stage',
      tools: [{ status: 'done', result: 'here', textBefore: 5 }],
      finishReason: 'stop',
      timing: { totalMs: 7 },
    });
  });

  it('begins the text again with another attempt, and keeps what the tools found', async () => {
    const again: ResponseEvent = { ...START, attempt: 2, reason: 'it failed' };
    const events: ResponseEvent[] = [
      START,
      { type: 'text', text: 'Lon' },
      { type: 'tool_call', callId: 'a', name: 'map', arguments: {} },
      again,
      { type: 'text', text: 'Paris' },
    ];
    expect(await lastValueFrom(from(events).pipe(snapshots()))).toMatchObject({
      text: 'Paris',
      attempt: 2,
      restartReason: 'it failed',
      tools: [{ name: 'map', textBefore: 0 }],
    });
  });

  it('tells of a stream what the handle tells of the answer', async () => {
    const { client, nextCall } = await staged();
    const stream = client.stream({ query: 'q' });
    const last = lastValueFrom(stream.pipe(snapshots()));
    const call = await nextCall();
    call.say('Where it ends.');
    call.finish();
    const answer = client.start({ query: 'asked otherwise' });
    const next = await nextCall();
    next.say('Where it ends.');
    next.finish();
    const {
      id: _,
      query: __,
      requestId: ___,
      timing: ____,
      usage: _____,
      retryAt: ______,
      error: _______,
      ...whole
    } = await answer.result;
    expect(await last).toMatchObject(whole);
  });
});

describe('perFrame', () => {
  const FRAMES = '----------x---------x---------x---------x---------x';

  it('gives the first value at once, then the newest with each frame', () => {
    virtual(({ animate, hot, expectObservable }) => {
      animate('           ----------x---------x---------x---------x');
      const values = hot('-a-b-c-------d-e------------------');
      expectObservable(values.pipe(perFrame())).toBe('-a--------c---------e-------------');
    });
  });

  it('gives a value that comes after a quiet frame at once', () => {
    virtual(({ animate, hot, expectObservable }) => {
      animate(FRAMES);
      const values = hot('-a------------------------b-------');
      expectObservable(values.pipe(perFrame())).toBe('-a------------------------b-------');
    });
  });

  it('ends at once, after the value that it held back', () => {
    virtual(({ animate, hot, expectObservable }) => {
      animate(FRAMES);
      expectObservable(hot('-ab-|').pipe(perFrame())).toBe('-a--(b|)');
      expectObservable(hot('-ab-#').pipe(perFrame())).toBe('-a--(b#)');
      expectObservable(hot('-a--|').pipe(perFrame())).toBe('-a--|');
    });
  });

  it('goes on every 100 ms where there are no frames', () => {
    // With no `animate` nothing has frames, as in a hidden tab.
    virtual(({ hot, expectObservable }) => {
      const values = hot('abc 200ms d');
      expectObservable(values.pipe(perFrame())).toBe('a 99ms c 102ms d');
    });
  });

  it('holds a burst of an error and its values in their order', () => {
    virtual(({ animate, expectObservable }) => {
      animate(FRAMES);
      const burst = concat(
        of('a', 'b', 'c'),
        throwError(() => 'cut'),
      );
      expectObservable(burst.pipe(perFrame())).toBe('(ac#)', undefined, 'cut');
    });
  });

  it('leaves no frame behind when nobody listens any more', () => {
    virtual(({ animate, hot, expectObservable, expectSubscriptions }) => {
      animate(FRAMES);
      const values = hot('-a-b-c-d-e-f-');
      expectObservable(values.pipe(perFrame()), '^---!').toBe('-a---');
      expectSubscriptions(values.subscriptions).toBe('^---!');
    });
  });
});

describe('smooth', () => {
  interface Shown {
    atMs: number;
    text: string;
  }

  /** The texts that are shown, and their times, for texts that arrive at given times. A frame is 10 ms. */
  function shown(said: [atMs: number, text: string][]): Shown[] {
    const seen: Shown[] = [];
    virtual(({ animate, expectObservable }) => {
      animate('---------x'.repeat(300));
      const source = merge(...said.map(([atMs, words]) => timer(atMs).pipe(map(() => words))));
      const typed = concat(source, NEVER).pipe(
        smooth(),
        tap((words) => seen.push({ atMs: asyncScheduler.now(), text: words })),
        ignoreElements(),
      );
      expectObservable(typed, '3s !').toBe('');
    });
    return seen;
  }

  it('types what comes at an even speed', () => {
    const words = 'x'.repeat(40);
    const seen = shown(Array.from({ length: 11 }, (_, i) => [i * 200, words.repeat(i)]));
    const middle = seen.filter(({ atMs }) => atMs > 1_000 && atMs < 2_000);
    const steps = middle.slice(1).map(({ text: now }, i) => now.length - middle[i]!.text.length);
    // 40 in 200 ms are two in each frame of 10 ms.
    expect(middle.length).toBeGreaterThan(80);
    expect(Math.max(...steps)).toBeLessThanOrEqual(3);
    expect(Math.min(...steps)).toBeGreaterThanOrEqual(1);
  });

  it('shows a burst within 0.4 s, however much it is and whatever comes after it', () => {
    const burst = 'x'.repeat(50_000);
    const seen = shown([
      [0, ''],
      ...Array.from({ length: 50 }, (_, i): [number, string] => [
        100 + i * 10,
        burst + 'y'.repeat(i),
      ]),
    ]);
    const half = seen.find(({ atMs }) => atMs >= 300)!;
    expect(half.text.length).toBeGreaterThan(10_000);
    expect(half.text.length).toBeLessThan(40_000);
    const at = seen.find(({ text: now }) => now.length >= burst.length)!.atMs;
    expect(at).toBeGreaterThan(400);
    expect(at).toBeLessThanOrEqual(520);
  });

  it('shows the first value whole: what was there when someone came is not typed', () => {
    expect(shown([[50, 'Where it ends.']])).toEqual([{ atMs: 50, text: 'Where it ends.' }]);
  });

  it('never splits a surrogate pair', () => {
    const stones = '🪨'.repeat(100);
    const seen = shown([
      [0, ''],
      [10, stones],
    ]);
    expect(seen.length).toBeGreaterThan(20);
    for (const { text: now } of seen) expect(now.isWellFormed()).toBe(true);
    expect(seen.at(-1)!.text).toBe(stones);
  });

  it('types again what begins again', () => {
    const seen = shown([
      [0, ''],
      [10, 'London'],
      [500, ''],
      [510, 'Paris'],
      [1000, 'Berlin'],
    ]);
    const texts = seen.map(({ text: now }) => now);
    expect(texts).toContain('London');
    expect(texts.filter((now) => 'Paris'.startsWith(now)).length).toBeGreaterThan(3);
    expect(texts.filter((now) => 'Berlin'.startsWith(now)).length).toBeGreaterThan(3);
    expect(texts.at(-1)).toBe('Berlin');
  });

  it('ends at once with the whole text, also with an error', () => {
    virtual(({ animate, hot, expectObservable }) => {
      animate('---------x---------x');
      const values = { a: '', b: 'Where it ends.' };
      expectObservable(hot('ab-|', values).pipe(smooth())).toBe('a--(b|)', values);
      expectObservable(hot('ab-#', values).pipe(smooth())).toBe('a--(b#)', values);
    });
  });

  it('needs no frames: it goes on where there are none', () => {
    virtual(({ hot, expectObservable }) => {
      const values = { a: '', b: 'x'.repeat(12), c: 'x'.repeat(6) };
      // 0.06 units a millisecond.
      expectObservable(hot('ab', values).pipe(smooth())).toBe('a 100ms c 99ms b', values);
    });
  });

  it('splits no character that a reader sees as one', () => {
    const flag = '\u{1F1EB}\u{1F1EE}';
    const family = '\u{1F468}\u200D\u{1F469}\u200D\u{1F467}\u200D\u{1F466}';
    const accent = 'e\u0301';
    const whole = `${flag}${family}${accent}ab`.repeat(20);
    const segmenter = new Intl.Segmenter();
    const boundaries = new Set([...segmenter.segment(whole)].map(({ index }) => index));
    const seen = shown([
      [0, ''],
      [100, whole],
    ]);
    expect(seen.length).toBeGreaterThan(20);
    for (const { text: words } of seen)
      expect(boundaries.has(words.length) || words === whole).toBe(true);
  });

  it('lets its source go', () => {
    virtual(({ animate, expectObservable }) => {
      animate('---------x');
      expectObservable(concat(of('a'), NEVER).pipe(smooth()), '^--!').toBe('a---');
    });
  });

  it('takes what `text()` gives', async () => {
    const { client, nextCall } = await staged();
    const whole = lastValueFrom(client.stream({ query: 'q' }).pipe(text(), smooth()));
    const call = await nextCall();
    call.say('Where it ends.');
    call.finish();
    expect(await whole).toBe('Where it ends.');
  });
});

describe('retryTransient', () => {
  const retryable = new StreamError('stalled', 'unable to finish', { retryAfterMs: 5_000 });
  const overloaded = new StreamError('overloaded', 'unable to start');

  /** The milliseconds at which a source that fails with `error` is subscribed to, and the error at last. */
  function attempts(error: unknown, options?: RetryTransientOptions): unknown[] {
    const seen: unknown[] = [];
    virtual(() => {
      defer(() => {
        seen.push(asyncScheduler.now());
        return throwError(() => error);
      })
        .pipe(retryTransient(options))
        .subscribe({ error: (last: unknown) => seen.push(last) });
    });
    return seen;
  }

  it('waits as long as the error says, or ever longer, and gives up at last', () => {
    expect(attempts(retryable)).toEqual([0, 5_000, 10_000, 15_000, retryable]);
    expect(attempts(overloaded, { count: 4 })).toEqual([
      0,
      1_000,
      3_000,
      7_000,
      15_000,
      overloaded,
    ]);
  });

  it.each([
    new StreamError('cancelled', 'unable to finish', { retryable: true }),
    new StreamError('bad_request', 'unable to ask'),
    new TypeError('of somebody else'),
  ])('does not retry %s', (error) => {
    expect(attempts(error)).toEqual([0, error]);
  });
});
