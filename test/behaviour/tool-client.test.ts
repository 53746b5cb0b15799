import {
  type Answer,
  type AnswerSnapshot,
  type ResponseEvent,
  text,
  type ToolUse,
} from '@rivulet/client';
import { EVENT } from '@rivulet/protocol';
import { gemini, ProviderError, searchDocs, ToolError } from '@rivulet/server';
import { firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningFake, startFake } from '../harness/fakes.js';
import { cuttableLink } from '../harness/link.js';
import { collect, connect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { providersOf } from '../harness/providers.js';
import { sdk, snapshotWhen } from '../harness/sdk.js';
import { type Call, stage } from '../harness/stage.js';
import { answer as say, held, runs } from '../harness/tools.js';

const ASK = { query: 'How high is it?' };

/** A server whose tool `height` ends when the test says so. */
async function staged() {
  const { provider, nextCall } = stage();
  const height = held('height');
  const server = await startServer(provider, { tools: [height.tool] });
  return { server, nextCall, height };
}

function callHeight(call: Call, ...words: string[]): void {
  for (const word of words) call.say(word);
  call.callTool('height', { of: 'it' });
  call.finish();
}

const called = (answer: Answer): Promise<AnswerSnapshot> =>
  snapshotWhen(answer, ({ tools }) => tools.length > 0);
const ended = (answer: Answer): Promise<AnswerSnapshot> =>
  snapshotWhen(answer, ({ tools }) => tools.at(-1)?.status === 'done');
const eventsOf = (answer: Answer): Promise<ResponseEvent[]> =>
  lastValueFrom(answer.events$.pipe(toArray()));

const CALL = { type: 'tool_call', callId: 'call-1', name: 'height', arguments: { of: 'it' } };
const RESULT = { type: 'tool_result', callId: 'call-1', name: 'height', result: 9 };

describe('an answer that used a tool, in the SDK', () => {
  it('has the tool in its snapshots, running and then done, each frozen', async () => {
    const { server, nextCall, height } = await staged();
    const answer = sdk(server.url).start(ASK);
    callHeight(await nextCall(), 'Let me look.');
    const running = await called(answer);
    expect(running).toMatchObject({
      status: 'streaming',
      tools: [{ ...withoutType(CALL), status: 'running', textBefore: 12 }],
    });
    height.runs[0]!.give(9);
    const done = await ended(answer);
    expect(done.tools).toEqual([
      { ...withoutType(CALL), status: 'done', result: 9, textBefore: 12 },
    ]);
    expect(running.tools[0]!.status).toBe('running');
    say(await nextCall(), 'It is 9 m.');
    const final = await answer.result;
    expect(final).toMatchObject({ status: 'done', text: 'Let me look.\n\nIt is 9 m.' });
    expect(final.tools).toBe(done.tools);
    const frozen = [running.tools, done.tools, ...running.tools, ...done.tools];
    expect(frozen.every(Object.isFrozen)).toBe(true);
  });

  it('tells of a call that failed, and why', async () => {
    const { provider, nextCall } = stage();
    const fails = runs('height', () => {
      throw new ToolError('there is no such hill');
    });
    const { url } = await startServer(provider, { tools: [fails] });
    const answer = sdk(url).start(ASK);
    callHeight(await nextCall());
    say(await nextCall());
    const error = 'there is no such hill';
    expect((await answer.result).tools).toMatchObject([{ status: 'failed', error }]);
    expect((await eventsOf(answer))[2]).toEqual({
      type: 'tool_result',
      callId: 'call-1',
      name: 'height',
      error,
    });
  });

  it('tells in its events what happened in the order in which it did', async () => {
    const { server, nextCall, height } = await staged();
    const answer = sdk(server.url).start(ASK);
    const events = eventsOf(answer);
    callHeight(await nextCall(), 'Let me look.');
    await called(answer);
    height.runs[0]!.give(9);
    await ended(answer);
    say(await nextCall(), 'It is 9 m.');
    expect(await events).toMatchObject([
      { type: 'start' },
      { type: 'text', text: 'Let me look.' },
      CALL,
      RESULT,
      { type: 'text', text: '\n\nIt is 9 m.' },
      { type: 'end' },
    ]);
  });

  it('tells a late listener of the tools at their places in the text', async () => {
    const { server, nextCall, height } = await staged();
    const answer = sdk(server.url).start(ASK);
    callHeight(await nextCall(), 'Let me look.');
    await called(answer);
    const early = eventsOf(answer);
    height.runs[0]!.give(9);
    callHeight(await nextCall());
    await snapshotWhen(answer, ({ tools }) => tools.length === 2);
    height.runs[1]!.give(8);
    say(await nextCall(), 'It is 9 m.');
    await answer.result;
    const again = { callId: 'call-2' };
    const rest = [{ type: 'text', text: '\n\nIt is 9 m.' }, { type: 'end' }];
    const whole = [
      { type: 'start' },
      { type: 'text', text: 'Let me look.' },
      CALL,
      RESULT,
      { ...CALL, ...again },
      { ...RESULT, ...again, result: 8 },
      ...rest,
    ];
    expect(await eventsOf(answer)).toMatchObject(whole);
    expect(await early).toMatchObject(whole);
    expect(await lastValueFrom(answer.events$.pipe(text()))).toBe('Let me look.\n\nIt is 9 m.');
  });

  it('keeps its tools when the text begins again, and tells of each once', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const { url } = await startServer(api.provider, {
      providers: providersOf(api.provider, local.provider),
      tools: [runs('height', () => 9)],
    });
    const answer = sdk(url).start(ASK);
    const events = eventsOf(answer);
    callHeight(await api.nextCall(), 'Let me look.');
    (await api.nextCall()).fail(new ProviderError('unavailable', 'unable to: cut'));
    await ended(answer);
    say(await local.nextCall(), 'It is 9 m.');
    const final = await answer.result;
    expect(final).toMatchObject({
      text: 'It is 9 m.',
      attempt: 2,
      tools: [{ status: 'done', result: 9, textBefore: 0 }],
    });
    const types = (all: ResponseEvent[]) => all.map(({ type }) => type);
    expect(types(await events)).toEqual([
      'start',
      'text',
      'tool_call',
      'tool_result',
      'start',
      'text',
      'end',
    ]);
    expect(types(await eventsOf(answer))).toEqual([
      'start',
      'tool_call',
      'tool_result',
      'text',
      'end',
    ]);
  });

  it('gets a result that came while the connection was cut, and the tool ran once', async () => {
    const { server, nextCall, height } = await staged();
    const link = await cuttableLink(server.url);
    const answer = sdk(link.url).start(ASK);
    callHeight(await nextCall(), 'Let me look.');
    await called(answer);
    link.down();
    await snapshotWhen(answer, ({ status }) => status === 'reconnecting');
    height.runs[0]!.give(9);
    const next = await nextCall();
    link.up();
    await ended(answer);
    say(next, 'It is 9 m.');
    expect(await answer.result).toMatchObject({
      text: 'Let me look.\n\nIt is 9 m.',
      tools: [{ status: 'done', result: 9 }],
    });
    expect(height.runs).toHaveLength(1);
  });

  it('aborts the tool when it is cancelled', async () => {
    const { server, nextCall, height } = await staged();
    const answer = sdk(server.url).start(ASK);
    callHeight(await nextCall());
    await called(answer);
    answer.cancel();
    const { signal } = height.runs[0]!;
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    expect(answer.getSnapshot()).toMatchObject({
      status: 'cancelled',
      tools: [{ name: 'height' }],
    });
  });

  it.each([
    ['used a tool', 'model', true],
    ['used none', 'browser-cache', false],
  ])('that %s comes from the %s when it is asked for again', async (_, source, uses) => {
    const { provider, nextCall } = stage();
    const { url } = await startServer(provider, { tools: [runs('height', () => 9)] });
    const client = sdk(url, { cache: {} });
    for (const asked of ['model', source]) {
      const { result } = client.start(ASK);
      if (asked === 'model') {
        if (uses) callHeight(await nextCall());
        say(await nextCall());
      }
      expect((await result).source).toBe(asked);
    }
  });
});

function withoutType<T extends { type: string }>({ type: _type, ...rest }: T): Omit<T, 'type'> {
  return rest;
}

describe('a plain client', () => {
  it('hears of tools by name, and its text is not touched by them', async () => {
    const { server, nextCall, height } = await staged();
    const socket = connect(server.url);
    const heard: unknown[] = [];
    socket.on(EVENT.tool, (message: unknown) => heard.push(message));
    const all = collect(socket);
    socket.emit(EVENT.start, { ...ASK, session_id: 's', stream_id: 'a' });
    callHeight(await nextCall(), 'Let me look.');
    await expect.poll(() => height.runs.length).toBe(1);
    height.runs[0]!.give({ metres: 9 });
    say(await nextCall(), 'It is 9 m.');
    expect((await all).text).toBe('Let me look.\n\nIt is 9 m.');
    const about = { type: EVENT.tool, stream_id: 'a', session_id: 's', call_id: 'call-1' };
    expect(heard).toEqual([
      { ...about, offset: 13, phase: 'call', name: 'height', arguments: { of: 'it' } },
      { ...about, offset: 14, phase: 'result', name: 'height', result: { metres: 9 } },
    ]);
  });
});

describe('with a model behind it', () => {
  let fake: RunningFake;
  beforeAll(async () => {
    fake = await startFake('gemini');
  });
  afterAll(() => fake.stop());

  it('an answer holds what the tool found in the documentation', async () => {
    const provider = gemini({ apiKey: 'k', model: 'gemini-3-flash', baseUrl: fake.url });
    const { url } = await startServer(provider, { tools: [searchDocs()] });
    const answer = sdk(url).start({ query: 'tool-once' });
    const { text: whole, tools } = await answer.result;
    expect(tools).toMatchObject([
      { name: 'search_docs', arguments: { query: 'offset' }, status: 'done' },
    ] satisfies Partial<ToolUse>[]);
    expect(whole).toContain('/docs/PROTOCOL.md#offsets');
    expect(await firstValueFrom(answer.text$)).toBe(whole);
  });
});
