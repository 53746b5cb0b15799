import { type Answer, type AnswerRequest, defineTool, snapshots, text } from '@rivulet/client';
import { createMockClient, record, type Script } from '@rivulet/client/testing';
import { mockProvider, type MockStep, ProviderError } from '@rivulet/server';
import { filter, firstValueFrom, lastValueFrom, map, of, retry, switchMap, tap, timer } from 'rxjs';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { deferred } from '../harness/deferred.js';
import { staged } from '../harness/sdk.js';
import { serviceOf } from '../harness/service.js';
import { virtual } from '../harness/virtual.js';

const ASK = { query: 'What is a delta?' };

const SCRIPT: Script = [
  { type: 'text', text: 'Where', afterMs: 10 },
  { type: 'text', text: ' it ends.', afterMs: 20 },
  { type: 'end', afterMs: 5 },
];

describe('a script with an unknown step', () => {
  const wrong = [{ type: 'txt', text: 'Where' }, undefined, 'text', {}, { type: 'toString' }];

  it.each(wrong)('%j is refused when the client is created, or asks', (step) => {
    const script = [...SCRIPT, step] as Script;
    const message = /^unable to play the script: step 3 is .*; use one of the types .*text, /;
    expect(() => createMockClient(script)).toThrow(message);
    const client = createMockClient(() => script);
    expect(() => client.start(ASK)).toThrow(message);
  });

  it('fails the answer of a server, and names the step and the steps there are', async () => {
    const step = { txt: 'Where' } as unknown as MockStep;
    const answer = serviceOf(mockProvider(() => [step])).generateResponse(ASK);
    await expect(answer).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringMatching(
        /^unable to play the script: \{"txt":"Where"\} .*; use one of `\{ text \}`, /,
      ),
    });
  });
});

describe('a scripted client', () => {
  it('plays its script in virtual time', () => {
    virtual(({ expectObservable }) => {
      const shown = createMockClient(SCRIPT).stream(ASK).pipe(text());
      const values = { a: '', b: 'Where', c: 'Where it ends.' };
      expectObservable(shown).toBe('10ms (ab) 16ms c 4ms |', values);
    });
  });

  it('gives a handle the states that a real one has', () => {
    virtual(({ expectObservable, flush }) => {
      const answer = createMockClient(SCRIPT).start(ASK);
      const states = answer.state$.pipe(map(({ status, text: words }) => `${status}: ${words}`));
      const values = {
        a: 'waiting: ',
        b: 'streaming: Where',
        c: 'streaming: Where it ends.',
        d: 'done: Where it ends.',
      };
      expectObservable(states).toBe('a 9ms b 19ms c 4ms (d|)', values);
      flush();
      expect(answer.getSnapshot()).toMatchObject({
        ...ASK,
        source: 'model',
        finishReason: 'stop',
        timing: { firstChunkMs: 10, totalMs: 35 },
      });
      expect(Object.isFrozen(answer.getSnapshot())).toBe(true);
    });
  });

  it('fails with the text so far, and `retry` plays the next script', async () => {
    const fails: Script = [
      { type: 'text', text: 'Whe' },
      { type: 'error', code: 'stalled', retryAfterMs: 7 },
    ];
    const scripts = [fails, SCRIPT];
    const client = createMockClient(() => scripts.shift() ?? []);
    const whole = await lastValueFrom(client.stream(ASK).pipe(retry(1), text()));
    expect(whole).toBe('Where it ends.');

    const { result, state$ } = createMockClient(fails).start(ASK);
    const failure = { code: 'stalled', retryable: true, retryAfterMs: 7, partialText: 'Whe' };
    await expect(result).rejects.toMatchObject(failure);
    expect(await lastValueFrom(state$)).toMatchObject({ status: 'failed', error: failure });
  });

  it('has queues, tools, further attempts and lost connections', () => {
    virtual(({ expectObservable }) => {
      const client = createMockClient([
        { type: 'queued', ahead: 2, afterMs: 1 },
        { type: 'text', text: 'Lon', afterMs: 1 },
        { type: 'tool_call', callId: '1', name: 'map', arguments: {}, afterMs: 1 },
        { type: 'tool_result', callId: '1', name: 'map', result: 'here', afterMs: 1 },
        { type: 'start', provider: 'local', reason: 'it failed', afterMs: 1 },
        { type: 'reconnecting', afterMs: 1 },
        { type: 'text', text: 'Paris', afterMs: 1 },
        { type: 'end', finishReason: 'length', afterMs: 1 },
      ]);
      const states = client
        .start(ASK)
        .state$.pipe(
          map((s) =>
            [s.status, s.ahead, s.text, s.tools[0]?.status, s.attempt, s.finishReason].join(),
          ),
        );
      expectObservable(states).toBe('abcdefgh(i|)', {
        a: 'waiting,,,,0,',
        b: 'queued,2,,,0,',
        c: 'streaming,,Lon,,1,',
        d: 'streaming,,Lon,running,1,',
        e: 'streaming,,Lon,done,1,',
        f: 'waiting,,,done,2,',
        g: 'reconnecting,,,done,2,',
        h: 'streaming,,Paris,done,2,',
        i: 'done,,Paris,done,2,length',
      });
    });
  });

  it('waits at a call until `reply` answers it, once and with what it waits for', async () => {
    const client = createMockClient([
      { type: 'tool_call', callId: 'a', name: 'delete', arguments: {}, awaits: 'approval' },
      { type: 'tool_result', callId: 'a', name: 'delete', result: 'gone' },
      { type: 'tool_call', callId: 'b', name: 'place', arguments: {}, awaits: 'result' },
      { type: 'text', text: 'Done.' },
      { type: 'end' },
    ]);
    const answer = client.start(ASK);
    const waiting = (callId: string) =>
      firstValueFrom(
        answer.state$.pipe(
          filter(({ tools }) => tools.some((u) => u.callId === callId && u.status === 'awaiting')),
        ),
      );
    await waiting('a');
    const refused = (code: string) => expect.objectContaining({ code });
    await expect(answer.reply('b', { result: 1 })).rejects.toEqual(refused('not_found'));
    await expect(answer.reply('a', { result: 1 })).rejects.toEqual(refused('bad_request'));
    await answer.reply('a', { approved: true });
    await expect(answer.reply('a', { approved: true })).rejects.toEqual(refused('conflict'));
    expect((await waiting('b')).text).toBe('');
    await answer.reply('b', { result: 'here' });
    const { text: all, tools } = await answer.result;
    expect(all).toBe('Done.');
    expect(tools).toMatchObject([
      { approved: true, status: 'done', result: 'gone' },
      { status: 'done', result: 'here' },
    ]);
  });

  it.each(['start', 'resume'] as const)('runs a tool of the page, given to `%s`', async (how) => {
    const given: unknown[] = [];
    const place = defineTool({
      name: 'place',
      description: 'Says where the user is.',
      parameters: z.object({ of: z.string() }),
      execute(args) {
        given.push(args);
        if (args.of === 'you') throw new Error('nobody knows');
        return 'here';
      },
    });
    const call = { type: 'tool_call', name: 'place', awaits: 'result' } as const;
    const client = createMockClient([
      { ...call, callId: 'a', arguments: { of: 'me', more: 1 } },
      { ...call, callId: 'b', arguments: { of: 'you' } },
      { ...call, callId: 'c', arguments: {} },
      { ...call, callId: 'd', name: 'other', arguments: {} },
      { type: 'text', text: 'Done.' },
      { type: 'end' },
    ]);
    const tools = [place];
    const answer = client.start(how === 'start' ? { ...ASK, tools } : ASK);
    if (how === 'resume') client.resume(answer.id, { tools });
    await firstValueFrom(answer.state$.pipe(filter((now) => now.tools.length === 4)));
    await answer.reply('d', { result: 'by hand' });
    const { text: all, tools: uses } = await answer.result;
    expect([all, given]).toEqual(['Done.', [{ of: 'me' }, { of: 'you' }]]);
    expect(uses).toMatchObject([
      { status: 'done', result: 'here' },
      { status: 'failed', error: 'nobody knows' },
      { status: 'failed', error: expect.stringContaining('of: ') },
      { status: 'done', result: 'by hand' },
    ]);
  });

  it('aborts a tool of the page when the answer is cancelled', async () => {
    const run = deferred<AbortSignal>();
    const wait = defineTool({
      name: 'wait',
      description: 'Waits.',
      parameters: { jsonSchema: {} },
      execute(_, { signal }) {
        run.resolve(signal);
        return new Promise(() => {});
      },
    });
    const client = createMockClient([
      { type: 'tool_call', callId: 'a', name: 'wait', arguments: {}, awaits: 'result' },
      { type: 'end' },
    ]);
    const answer = client.start({ ...ASK, tools: [wait] });
    const signal = await run.promise;
    expect(signal.aborted).toBe(false);
    answer.cancel();
    expect(signal.aborted).toBe(true);
  });

  it('stalls where its script has no end, until it is cancelled', () => {
    virtual(({ expectObservable }) => {
      const controller = new AbortController();
      const options = { signal: controller.signal };
      const answer = createMockClient(SCRIPT.slice(0, 1)).start({ ...ASK, options });
      timer(500).subscribe(() => controller.abort());
      const states = answer.state$.pipe(map(({ status }) => status));
      const values = { a: 'waiting', b: 'streaming', c: 'cancelled' };
      expectObservable(states).toBe('a 9ms b 489ms (c|)', values);
    });
  });

  it('goes on unseen for two seconds after the last handle is released, and is then cancelled', () => {
    const script: Script = [
      { type: 'text', text: 'a', afterMs: 100 },
      { type: 'text', text: 'b', afterMs: 100 },
      { type: 'text', text: 'c', afterMs: 5_000 },
    ];
    virtual(({ expectObservable }) => {
      const client = createMockClient(script);
      const first = client.start(ASK);
      const statesOf = ({ state$ }: Answer) => state$.pipe(map((s) => `${s.status}: ${s.text}`));
      timer(150).subscribe(() => first.release());
      expectObservable(statesOf(first)).toBe('a 99ms b 49ms (c|)', {
        a: 'waiting: ',
        b: 'streaming: a',
        c: 'released: a',
      });
      const second = timer(1_000).pipe(map(() => client.resume(first.id)));
      const released = second.pipe(
        tap((answer) => timer(2_000).subscribe(() => answer.release())),
        switchMap(statesOf),
      );
      expectObservable(released).toBe('1s d 1999ms (e|)', {
        d: 'streaming: ab',
        e: 'released: ab',
      });
      const third = timer(9_000).pipe(switchMap(() => statesOf(client.resume(first.id))));
      expectObservable(third).toBe('9s (f|)', { f: 'cancelled: ab' });
    });
  });

  it('waits when it is limited and told to, by the clock of the scheduler', () => {
    const script: Script = [
      { type: 'error', code: 'rate_limited', retryAfterMs: 3_000 },
      { type: 'text', text: 'a' },
      { type: 'end' },
    ];
    virtual(({ expectObservable }) => {
      const client = createMockClient(script);
      const statesOf = (request: AnswerRequest) =>
        client.start(request).state$.pipe(map((s) => [s.status, s.text, s.retryAt].join()));
      expectObservable(statesOf({ ...ASK, options: { onRateLimit: 'wait' } })).toBe(
        'a 2999ms (bc|)',
        { a: 'waiting,,3000', b: 'streaming,a,', c: 'done,a,' },
      );
      expectObservable(statesOf(ASK)).toBe('(a|)', { a: 'failed,,3000' });
    });
  });

  it('has the connection that it is given, until it is closed', async () => {
    const states = ['connecting', 'connected'] as const;
    const connection$ = of(...states.map((status) => ({ status })));
    const client = createMockClient([], { connection$ });
    const seen: string[] = [];
    client.connection$.subscribe(({ status }) => seen.push(status));
    client.close();
    expect(seen).toEqual(['connected', 'closed']);
  });

  it('cancels what runs when it is closed', async () => {
    const client = createMockClient([]);
    const answer = client.start(ASK);
    client.close();
    expect((await answer.result).status).toBe('cancelled');
    expect(await lastValueFrom(client.connection$)).toEqual({ status: 'closed' });
  });

  it('lists what is under way, and attaches to it', async () => {
    const client = createMockClient(({ query }) => (query === 'stalls' ? [] : SCRIPT));
    const listed: string[][] = [];
    client.active$.subscribe((active) => listed.push(active.map((a) => `${a.query} ${a.status}`)));
    const stalls = client.start({ query: 'stalls' });
    const answer = client.start({ query: 'ends' });
    expect(client.resume(answer.id).getSnapshot()).toBe(answer.getSnapshot());
    await answer.result;
    expect(listed).toEqual([
      [],
      ['stalls waiting'],
      ['stalls waiting', 'ends waiting'],
      ['stalls waiting', 'ends streaming'],
      ['stalls waiting'],
    ]);
    stalls.cancel();
    await expect(client.resume('unknown').result).rejects.toMatchObject({ code: 'not_found' });
    expect(listed.at(-1)).toEqual([]);
  });

  it('answers each question as its function says', async () => {
    const client = createMockClient(({ query }) => [
      { type: 'text', text: query },
      { type: 'end' },
    ]);
    expect((await client.start({ query: 'one' }).result).text).toBe('one');
    expect((await client.start({ query: 'two' }).result).text).toBe('two');
  });
});

describe('a recording', () => {
  /** The messages of a stream with this script. */
  function told(script: Script) {
    return lastValueFrom(createMockClient(script).stream(ASK).pipe(snapshots()));
  }

  it('of a real answer, as JSON, plays again as it was', async () => {
    const { client, nextCall } = await staged();
    const recorded = lastValueFrom(client.stream(ASK).pipe(record()));
    const call = await nextCall();
    call.say('Where');
    call.say(' it ends.');
    call.finish();
    const script = JSON.parse(JSON.stringify(await recorded)) as Script;
    const again = await told(script);
    expect(again).toMatchObject({ status: 'done', text: 'Where it ends.', provider: 'stage' });
    expect(again.timing?.server).toBeDefined();
  });

  it('holds how much time went by', () => {
    virtual(({ expectObservable }) => {
      const recorded = createMockClient(SCRIPT).stream(ASK).pipe(record());
      const steps = recorded.pipe(
        map((script) => script.map(({ type, afterMs }) => `${type} ${afterMs}`)),
      );
      expectObservable(steps).toBe('35ms (a|)', {
        a: ['start 10', 'text 0', 'text 20', 'end 5'],
      });
    });
  });

  it('holds how an answer failed', async () => {
    const { client, nextCall } = await staged();
    const recorded = lastValueFrom(client.stream(ASK).pipe(record()));
    const call = await nextCall();
    call.say('Where');
    call.fail(new ProviderError('unavailable', 'unable to go on: cut', { retryAfterMs: 7_000 }));
    const script = await recorded;
    await expect(createMockClient(script).start(ASK).result).rejects.toMatchObject({
      code: 'provider_unavailable',
      retryAfterMs: 7_000,
      partialText: 'Where',
      message: expect.stringContaining('cut'),
    });
  });
});
