import {
  createClient,
  type Answer,
  type ClientTool,
  type ClientToolDefinition,
  defineTool as defineClientTool,
  type ToolUse,
} from '@rivulet/client';
import { type AssistantMessage, createChat } from '@rivulet/client/chat';
import { EVENT } from '@rivulet/protocol';
import { defineTool } from '@rivulet/server';
import { EMPTY, filter, firstValueFrom } from 'rxjs';
import { describe, expect, expectTypeOf, it, onTestFinished, vi } from 'vitest';
import * as z from 'zod';
import { createAnswerController } from '../../packages/client/src/bindings/answer-controller.js';
import { chatWhen, newestAnswer, settled } from '../harness/chat.js';
import { cuttableLink } from '../harness/link.js';
import { connect } from '../harness/plain-client.js';
import { startServer } from '../harness/rivulet.js';
import { type Reply, scriptedServer } from '../harness/scripted-server.js';
import { connectionWhen, sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';
import { createStorage, type TestStorage } from '../harness/storage.js';
import { answer as say, resultsTold } from '../harness/tools.js';

const parameters = z.object({ of: z.string() });
const place: ClientTool = { name: 'place', description: 'Says where the user is.', parameters };

/** A server tool that needs approval; `deleted` is what it was run with. */
function deleting() {
  const deleted: string[] = [];
  const tool = defineTool({
    name: 'delete_example',
    description: 'Deletes an example.',
    parameters,
    needsApproval: true,
    execute: ({ of }) => void deleted.push(of),
  });
  return { tool, deleted };
}

async function staged(options?: Parameters<typeof startServer>[1]) {
  const { provider, nextCall, calls } = stage();
  const server = await startServer(provider, options);
  return { server, nextCall, calls };
}

const awaiting = async (answer: Answer): Promise<ToolUse> => {
  const { tools } = await snapshotWhen(answer, ({ tools: [use] }) => use?.status === 'awaiting');
  return tools[0]!;
};
const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: { code: string }) => error.code,
  );

describe('a reply to a call', () => {
  it.each([
    ['the client is closed while it waits for a connection', 'http://127.0.0.1:1'],
    ['the server refuses the client', undefined],
  ])('is rejected when %s', async (_when, url) => {
    const { server } = await staged({ authenticate: () => undefined });
    const client = sdk(url ?? server.url);
    const answer = client.start({ query: 'q' });
    const replied = codeOf(answer.reply('call-1', { result: 1 }));
    await connectionWhen(client, ({ status }) => status !== 'connecting' && status !== 'idle');
    // The reply is on its way once its module was loaded.
    await import('../../packages/client/src/answer/send-tool-reply.js');
    await new Promise((resolve) => setImmediate(resolve));
    if (url !== undefined) client.close();
    expect(await replied).toBe('conflict');
    await answer.result.catch(() => {});
  });
});

it('a call that the log no longer has is aborted, and runs again where a later attempt makes it', async () => {
  const { url, connection } = await scriptedServer();
  const runs: { signal: AbortSignal; finish(result: string): void }[] = [];
  const execute: ClientTool['execute'] = (_args, { signal }) =>
    new Promise<string>((resolve) => runs.push({ signal, finish: resolve }));
  const answer = sdk(url).start({ query: 'q', tools: [{ ...place, execute }] });
  const socket = await connection;
  const replied: unknown[] = [];
  socket.on(EVENT.toolReply, (message: object, reply: Reply) => {
    replied.push(message);
    reply({ ok: true });
  });
  const send = (event: string, message: object): unknown =>
    socket.emit(event, { type: event, stream_id: answer.id, ...message });
  const call = (offset: number): unknown =>
    send(EVENT.tool, {
      offset,
      phase: 'call',
      call_id: 'c1',
      name: place.name,
      arguments: { of: 'me' },
      awaits: 'result',
    });
  const start = { source: 'model', provider: 'p', model: 'm' };
  send(EVENT.start, { offset: 0, attempt: 1, ...start });
  call(1);
  await vi.waitFor(() => expect(runs).toHaveLength(1));
  send(EVENT.start, { offset: 1, attempt: 101, ...start });
  call(2);
  // A page with Web Locks waits for 1 s if the lock of the first call was not released yet.
  await vi.waitFor(() => expect(runs).toHaveLength(2));
  const [first, second] = runs;
  expect(first!.signal.aborted).toBe(true);
  first!.finish('of the first call');
  await new Promise((resolve) => setImmediate(resolve));
  second!.finish('of the second call');
  const sent = { stream_id: answer.id, call_id: 'c1', result: 'of the second call' };
  await vi.waitFor(() => expect(replied).toEqual([sent]));
  expect(answer.getSnapshot().tools).toMatchObject([{ callId: 'c1', status: 'awaiting' }]);
  answer.cancel();
  expect(second!.signal.aborted).toBe(true);
});

it('a call that waits for an approval is an error where its arguments are checked for ever', async () => {
  const { tool } = deleting();
  const checking = z.object({ of: z.string().refine(() => new Promise<boolean>(() => {})) });
  const hanging = defineTool({ ...tool, parameters: checking, execute: () => 'never' });
  const { server, nextCall } = await staged({ tools: [hanging], limits: { toolTimeoutMs: 50 } });
  const answer = sdk(server.url).start({ query: 'q' });
  const first = await nextCall();
  first.callTool(tool.name, { of: 'me' });
  first.finish();
  const second = await nextCall();
  expect(resultsTold(second)).toMatchObject([{ error: 'the tool did not finish within 50 ms' }]);
  say(second, 'Not done.');
  expect(await answer.result).toMatchObject({ text: 'Not done.' });
});

describe('a tool of the client', () => {
  it('is declared to the model, runs in the page that asked, and its result goes to the model', async () => {
    const { server, nextCall } = await staged();
    const asked: unknown[] = [];
    const execute = (args: { of: string }) => (asked.push(args), { city: 'Rome' });
    const answer = sdk(server.url).start({ query: 'Where?', tools: [{ ...place, execute }] });
    const first = await nextCall();
    expect(first.prompt.tools).toMatchObject([{ name: 'place', parameters: { type: 'object' } }]);
    first.callTool('place', { of: 'me' });
    first.finish();
    const second = await nextCall();
    expect(resultsTold(second)).toEqual([
      { callId: 'call-1', name: 'place', result: { city: 'Rome' } },
    ]);
    say(second, 'Rome.');
    const { tools, text } = await answer.result;
    expect([text, asked]).toEqual(['Rome.', [{ of: 'me' }]]);
    expect(tools).toMatchObject([{ status: 'done', awaits: 'result', result: { city: 'Rome' } }]);
  });

  it('has the type of its schema in `execute`, with the context', async () => {
    const tool = defineClientTool({
      name: 'place',
      description: 'Says where the user is.',
      parameters: z.object({ of: z.string(), times: z.coerce.number().default(1) }),
      execute(args, { signal }) {
        expectTypeOf(args).toEqualTypeOf<{ of: string; times: number }>();
        expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
        return [args.of.toUpperCase(), args.times + 1];
      },
    });
    const { server, nextCall } = await staged();
    sdk(server.url).start({ query: 'Where?', tools: [tool] });
    const first = await nextCall();
    first.callTool('place', { of: 'me', times: '2' });
    first.finish();
    expect(resultsTold(await nextCall())).toMatchObject([{ result: ['ME', 3] }]);
  });

  it('is a type error if its schema and its `execute` do not fit', () => {
    const of = { name: 'place', description: 'Says where.' };
    const needsString = (args: { of: string }): string => args.of;
    const jsonSchema = { parameters: { jsonSchema: {} }, execute: needsString };
    const tools = [
      defineClientTool({ ...of, parameters }),
      defineClientTool({ ...of, parameters, execute: needsString }),
      defineClientTool<{ of: string }>({ ...of, ...jsonSchema }),
      defineClientTool({
        ...of,
        parameters: { jsonSchema: {}, validate: (value: unknown) => ({ of: String(value) }) },
        execute: needsString,
      }),
    ];
    expect(tools).toMatchObject(tools.map(() => of));
    expect(tools[0]).not.toHaveProperty('execute');
    type Definition = ClientToolDefinition<{ of: string }>;
    const wrong = (args: { of: number }): number => args.of;
    expectTypeOf({ ...of, parameters, execute: wrong }).not.toExtend<Definition>();
    expectTypeOf({ ...of, parameters, needsApproval: true }).not.toExtend<Definition>();
    const optional = z.object({ of: z.string().optional() });
    const unchecked = { ...of, parameters: optional, execute: needsString };
    expectTypeOf(unchecked).not.toExtend<ClientToolDefinition<z.output<typeof optional>>>();
    // A JSON Schema has no type of its own.
    expectTypeOf({ ...of, ...jsonSchema }).not.toExtend<ClientToolDefinition<unknown>>();
  });

  it('tells the model what a handler throws, and that arguments are wrong', async () => {
    const { server, nextCall } = await staged();
    const execute = (): never => {
      throw new Error('the user is nowhere');
    };
    sdk(server.url).start({ query: 'Where?', tools: [{ ...place, execute }] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.callTool('place', { of: 7 });
    first.finish();
    const [thrown, wrong] = resultsTold(await nextCall());
    expect(thrown).toMatchObject({ error: 'the user is nowhere' });
    expect(wrong).toMatchObject({ error: expect.stringContaining('of: ') });
  });

  it('that returns an Observable is an error that says what to return', async () => {
    const { server, nextCall } = await staged();
    sdk(server.url).start({ query: 'Where?', tools: [{ ...place, execute: () => EMPTY }] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    expect(resultsTold(await nextCall())).toMatchObject([
      { error: expect.stringContaining('return a promise') },
    ]);
  });

  it('with `needsApproval` does not run unasked, and says what to do', async () => {
    const { server, nextCall } = await staged();
    const execute = vi.fn<() => void>();
    const wrong = { ...place, execute, needsApproval: true };
    expectTypeOf(wrong).not.toExtend<ClientTool>();
    const typed = wrong as unknown as ClientTool;
    const answer = sdk(server.url).start({ query: 'Where?', tools: [typed] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    const [told] = resultsTold(await nextCall());
    expect(told).toMatchObject({ error: expect.stringContaining('remove it, and ask the user') });
    expect(execute).not.toHaveBeenCalled();
    answer.cancel();
  });

  it('waits for `reply` without a handler; any tab may answer, once', async () => {
    const { server, nextCall } = await staged();
    const browserId = 'one-browser-for-all-tabs';
    const one = sdk(server.url, { browserId });
    const answer = one.start({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    const { callId } = await awaiting(answer);
    const other = sdk(server.url, { browserId }).resume(answer.id);
    expect(await awaiting(other)).toMatchObject({ awaits: 'result', timeoutMs: 300_000 });
    expect(await codeOf(other.reply(callId, { approved: true }))).toBe('bad_request');
    expect(await codeOf(other.reply('call-9', { result: 1 }))).toBe('not_found');
    expect(await codeOf(other.reply(callId, { result: 'x'.repeat(131_073) }))).toBe('bad_request');
    await other.reply(callId, { result: 'here' });
    await answer.reply(callId, { result: 'here' });
    expect(await codeOf(answer.reply(callId, { result: 'there' }))).toBe('conflict');
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([{ result: 'here' }]);
    say(second);
    expect(await answer.result).toMatchObject({ status: 'done' });
  });

  it("of another principal's stream cannot be answered", async () => {
    const { server, nextCall } = await staged();
    const answer = sdk(server.url).start({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    const { callId: call_id } = await awaiting(answer);
    const stranger = connect(server.url);
    const reply = { stream_id: answer.id, call_id, result: 1 };
    expect(await stranger.emitWithAck(EVENT.toolReply, reply)).toMatchObject({
      error: { code: 'not_found' },
    });
  });

  it('may not have the name of a tool of the server', async () => {
    const { server } = await staged({ tools: [deleting().tool] });
    const tools = [{ ...place, name: 'delete_example' }];
    const answer = sdk(server.url).start({ query: 'Delete it', tools });
    expect(await codeOf(answer.result)).toBe('bad_request');
  });

  it('keeps its answer from being shared and cached', async () => {
    const { server, nextCall, calls } = await staged();
    const client = sdk(server.url);
    const ask = { query: 'Where?', tools: [place] };
    const answers = [client.start(ask), client.start(ask)];
    say(await nextCall());
    say(await nextCall());
    for (const answer of answers) await answer.result;
    const third = client.start(ask);
    say(await nextCall());
    await third.result;
    expect(calls).toHaveLength(3);
  });

  it('fails with a clear error when nobody answers in time, and the model goes on', async () => {
    const { server, nextCall } = await staged({ limits: { toolReplyTimeoutMs: 20 } });
    const answer = sdk(server.url).start({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    const second = await nextCall();
    const error = 'nobody answered the call within 20 ms';
    expect(resultsTold(second)).toMatchObject([{ error }]);
    expect(await codeOf(answer.reply('call-1', { result: 1 }))).toBe('conflict');
    say(second);
    expect((await answer.result).tools).toMatchObject([{ status: 'failed', error }]);
  });

  it('is run after a reload in a page that has it, with the same call', async () => {
    const { server, nextCall } = await staged();
    const browserId = 'one-browser-for-all-tabs';
    const before = createClient({ url: server.url, cache: false, browserId });
    onTestFinished(() => before.close());
    const { id } = before.start({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    await awaiting(before.resume(id));
    const after = sdk(server.url, { browserId });
    after.resume(id, { tools: [{ ...place, execute: () => 'after' }] });
    expect(resultsTold(await nextCall())).toMatchObject([{ result: 'after' }]);
  });

  it('is run after a reload in a view that has it', async () => {
    const { server, nextCall } = await staged();
    const browserId = 'one-browser-for-all-tabs';
    const { id } = sdk(server.url, { browserId }).start({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    const { state$, actions } = createAnswerController(sdk(server.url, { browserId }));
    const view = state$.subscribe();
    onTestFinished(() => view.unsubscribe());
    actions.resume(id, { tools: [{ ...place, execute: () => 'in the view' }] });
    expect(resultsTold(await nextCall())).toMatchObject([{ result: 'in the view' }]);
  });

  it('is run after a reload in a page that goes on from what the journal has', async () => {
    const { tool } = deleting();
    const remote = defineTool({ name: 'remote', description: 'Says where.', parameters });
    const { server, nextCall } = await staged({
      tools: [tool, remote],
      authenticate: () => ({ principal: 'ada' }),
    });
    const storage = createStorage();
    const open = (kept: TestStorage) =>
      sdk(server.url, { auth: () => 'ada', cache: { namespace: 'ada', storage: kept } });
    const answer = open(storage).start({ query: 'Where?' });
    const first = await nextCall();
    first.callTool('remote', { of: 'me' });
    first.finish();
    const { callId } = await awaiting(answer);
    await expect
      .poll(() => storage.valuesOf('j:'))
      .toMatchObject([{ received: { toolEntries: [{ event: { callId, awaits: 'result' } }] } }]);
    const asked: unknown[] = [];
    const execute = (args: unknown) => (asked.push(args), 'after');
    const resumed = open(storage.copy()).resume(answer.id, {
      tools: [{ ...place, name: 'remote', execute }],
    });
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([{ callId, result: 'after' }]);
    expect(asked).toEqual([{ of: 'me' }]);
    say(second, 'Here.');
    expect(await resumed.result).toMatchObject({
      text: 'Here.',
      tools: [{ callId, status: 'done', result: 'after' }],
    });
  });

  it('may be answered in another order than it was called, each call with its own result', async () => {
    const { server, nextCall } = await staged();
    const answer = sdk(server.url).start({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.callTool('place', { of: 'you' });
    first.finish();
    const { tools } = await snapshotWhen(answer, (now) => now.tools.length === 2);
    const [one, two] = tools.map(({ callId }) => callId);
    await answer.reply(two!, { result: 'there' });
    await answer.reply(one!, { error: 'nowhere' });
    const second = await nextCall();
    expect(resultsTold(second)).toEqual([
      { callId: one, name: 'place', error: 'nowhere' },
      { callId: two, name: 'place', result: 'there' },
    ]);
    say(second);
    await answer.result;
    expect(await codeOf(answer.reply(one!, { error: 'nowhere' }))).toBe('conflict');
  });

  it('is answered in a chat, by the id of the message', async () => {
    const { server, nextCall } = await staged();
    const chat = createChat(sdk(server.url), { tools: [place] });
    void chat.send('Where?');
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    await chatWhen(
      chat,
      ({ messages: [, message] }) =>
        (message as AssistantMessage | undefined)?.answer.tools[0]?.status === 'awaiting',
    );
    const message = newestAnswer(chat);
    const [call] = message.answer.tools;
    expect(await codeOf(chat.reply('another', call!.callId, { result: 1 }))).toBe('not_found');
    await chat.reply(message.id, call!.callId, { result: 'here' });
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([{ result: 'here' }]);
    say(second, 'Here.');
    expect((await settled(chat)).messages.at(-1)).toMatchObject({ text: 'Here.' });
    expect(await codeOf(chat.reply(message.id, call!.callId, { result: 'here' }))).toBe(
      'not_found',
    );
  });

  it('is answered in a view, for the answer that it shows', async () => {
    const { server, nextCall } = await staged();
    const { state$, actions } = createAnswerController(sdk(server.url));
    onTestFinished(() => view.unsubscribe());
    expect(await codeOf(actions.reply('call-1', { result: 1 }))).toBe('not_found');
    const view = state$.subscribe();
    actions.ask({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    const { tools } = await firstValueFrom(
      state$.pipe(filter((now) => now.tools[0]?.status === 'awaiting')),
    );
    await actions.reply(tools[0]!.callId, { result: 'here' });
    expect(resultsTold(await nextCall())).toMatchObject([{ result: 'here' }]);
  });

  it.each(['cancel', 'timeout'])('leaves no timer behind: %s', async (how) => {
    const limits = { toolReplyTimeoutMs: how === 'timeout' ? 20 : 86_399_999 };
    const { server, nextCall } = await staged({ limits });
    const [set, clear] = [vi.spyOn(globalThis, 'setTimeout'), vi.spyOn(globalThis, 'clearTimeout')];
    onTestFinished(() => void vi.restoreAllMocks());
    const answer = sdk(server.url).start({ query: 'Where?', tools: [place] });
    const first = await nextCall();
    first.callTool('place', { of: 'me' });
    first.finish();
    await awaiting(answer);
    const at = set.mock.calls.findIndex(([, ms]) => ms === limits.toolReplyTimeoutMs);
    const timer: unknown = set.mock.results[at]?.value;
    expect(timer).toBeDefined();
    if (how === 'cancel') answer.cancel();
    else await nextCall();
    await vi.waitFor(() => expect(clear.mock.calls.flat()).toContain(timer));
  });
});

describe('a tool of two pages that show the same answer', () => {
  /** The Web Locks API, as far as the client uses it. */
  function lockManager() {
    const waiting: string[] = [];
    const tails = new Map<string, Promise<unknown>>();
    const request = async (
      name: string,
      { ifAvailable = false, signal }: { ifAvailable?: boolean; signal?: AbortSignal },
      work: (lock: object | null) => unknown,
    ): Promise<unknown> => {
      const tail = tails.get(name);
      if (ifAvailable && tail !== undefined) return work(null);
      if (tail !== undefined) waiting.push(name);
      const run = (tail ?? Promise.resolve()).then(() =>
        signal?.aborted ? undefined : Promise.resolve(work({})),
      );
      const next = run.finally(() => tails.get(name) === next && tails.delete(name));
      tails.set(name, next);
      return next;
    };
    return { request, waiting, tails };
  }

  /** Two pages, of which the first runs a call of `place`; the second is behind `link`. */
  async function called(locks: { request: unknown; waiting?: string[] }) {
    vi.stubGlobal('navigator', { locks });
    onTestFinished(() => void vi.unstubAllGlobals());
    const { server, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const browserId = 'one-browser-for-all-tabs';
    const runs: { page: string; give(result: unknown): void }[] = [];
    const toolOf = (page: string): ClientTool => ({
      ...place,
      execute: () => new Promise((give) => void runs.push({ page, give })),
    });
    const first = sdk(server.url, { browserId });
    const answer = first.start({ query: 'Where?', tools: [toolOf('first')] });
    const call = await nextCall();
    call.callTool('place', { of: 'me' });
    call.finish();
    await awaiting(answer);
    await expect.poll(() => runs.length).toBe(1);
    const second = sdk(link.url, { browserId });
    const other = second.resume(answer.id, { tools: [toolOf('second')] });
    if (locks.waiting) await expect.poll(() => locks.waiting).toHaveLength(1);
    return { nextCall, link, first, runs, other };
  }

  it('runs in each where the browser lets the page use no locks', async () => {
    const { nextCall, runs } = await called({
      request: () => Promise.reject(new DOMException('sandboxed', 'SecurityError')),
    });
    await expect.poll(() => runs.map(({ page }) => page)).toEqual(['first', 'second']);
    runs[0]!.give('here');
    expect(resultsTold(await nextCall())).toMatchObject([{ result: 'here' }]);
  });

  it('runs in the second once the first has closed its client', async () => {
    const { nextCall, first, runs, other } = await called(lockManager());
    first.close();
    await expect.poll(() => runs.map(({ page }) => page)).toHaveLength(2);
    runs[1]!.give('there');
    const next = await nextCall();
    expect(resultsTold(next)).toMatchObject([{ result: 'there' }]);
    say(next, 'There.');
    expect(await other.result).toMatchObject({ text: 'There.' });
  });

  it('leaves the lock to another page once the second has left the answer without a connection', async () => {
    const locks = lockManager();
    const { link, first, runs, other } = await called(locks);
    link.down();
    await snapshotWhen(other, ({ status }) => status === 'reconnecting');
    first.close();
    other.release();
    await expect.poll(() => locks.tails.size).toBe(0);
    expect(runs).toHaveLength(1);
  });

  it('runs once if the first has replied and is closed while the second has no connection', async () => {
    const { nextCall, link, first, runs, other } = await called(lockManager());
    link.down();
    await snapshotWhen(other, ({ status }) => status === 'reconnecting');
    runs[0]!.give('here');
    const next = await nextCall();
    first.close();
    // Longer than the second page waits before it takes the call over.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    link.up();
    say(next, 'Here.');
    expect(await other.result).toMatchObject({ text: 'Here.', tools: [{ result: 'here' }] });
    expect(runs).toHaveLength(1);
  });
});

describe('a call that needs approval', () => {
  it.each([
    [true, ['it'], { result: null }],
    [false, [], { error: 'the user refused the call' }],
  ])('runs only once it is approved: %s', async (approved, ran, told) => {
    const { tool, deleted } = deleting();
    const { server, nextCall } = await staged({ tools: [tool] });
    const answer = sdk(server.url).start({ query: 'Delete it' });
    const first = await nextCall();
    first.callTool('delete_example', { of: 'it' });
    first.finish();
    const { callId, awaits } = await awaiting(answer);
    expect([awaits, deleted]).toEqual(['approval', []]);
    await answer.reply(callId, { approved });
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([told]);
    expect(deleted).toEqual(ran);
    say(second);
    expect((await answer.result).tools).toMatchObject([{ approved }]);
  });

  it('with wrong arguments is not shown to a user', async () => {
    const { tool } = deleting();
    const { server, nextCall } = await staged({ tools: [tool] });
    const answer = sdk(server.url).start({ query: 'Delete it' });
    const first = await nextCall();
    first.callTool('delete_example', { of: 7 });
    first.finish();
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([{ error: expect.stringContaining('wrong') }]);
    say(second);
    expect((await answer.result).tools[0]).not.toHaveProperty('awaits');
  });

  it('is not run where nobody can be asked', async () => {
    const { tool, deleted } = deleting();
    const { server, nextCall } = await staged({ tools: [tool] });
    const response = server.llm.generateResponse({ query: 'Delete it' });
    const first = await nextCall();
    first.callTool('delete_example', { of: 'it' });
    first.finish();
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([{ error: expect.stringContaining('no client') }]);
    say(second);
    await response;
    expect(deleted).toEqual([]);
  });
});

describe('a paused answer', () => {
  async function paused(options?: Parameters<typeof startServer>[1]) {
    const { tool } = deleting();
    const { server, nextCall } = await staged({ tools: [tool], ...options });
    const browserId = 'one-browser-for-all-tabs';
    const first = sdk(server.url, { browserId });
    const answer = first.start({ query: 'Delete it' });
    const call = await nextCall();
    call.callTool('delete_example', { of: 'it' });
    call.finish();
    await awaiting(answer);
    return { server, nextCall, answer, first, browserId };
  }

  it('outlives its readers, and says so to one that comes back', async () => {
    const { server, nextCall, answer, browserId } = await paused({
      limits: { detachTimeoutMs: 0, disconnectTimeoutMs: 0 },
    });
    const watcher = connect(server.url, { browser_id: browserId });
    answer.release();
    await expect
      .poll(() => watcher.emitWithAck(EVENT.list, {}))
      .toMatchObject({ streams: [{ status: 'paused' }] });
    const back = sdk(server.url, { browserId }).resume(answer.id);
    const { callId } = await awaiting(back);
    await back.reply(callId, { approved: true });
    say(await nextCall(), 'Gone.');
    expect(await back.result).toMatchObject({ status: 'done', text: 'Gone.' });
  });

  it('counts as one of the streams that its user may have, until it is cancelled', async () => {
    const maxStreamsPerPrincipal = 1;
    const { nextCall, answer, first } = await paused({ limits: { maxStreamsPerPrincipal } });
    answer.release();
    expect(await codeOf(first.start({ query: 'Another' }).result)).toBe('overloaded');
    const { callId } = await awaiting(first.resume(answer.id));
    first.resume(answer.id).cancel();
    await expect.poll(() => codeOf(answer.reply(callId, { approved: true }))).toBe('conflict');
    first.start({ query: 'Another' });
    say(await nextCall());
  });

  it('frees its place at the provider', async () => {
    const { provider, nextCall } = stage();
    const { tool } = deleting();
    const server = await startServer(provider, {
      tools: [tool],
      providers: [{ provider, concurrency: 1 }],
    });
    const client = sdk(server.url);
    const answer = client.start({ query: 'Delete it' });
    const call = await nextCall();
    call.callTool('delete_example', { of: 'it' });
    call.finish();
    await awaiting(answer);
    const other = client.start({ query: 'Another' });
    say(await nextCall(), 'Here.');
    expect(await other.result).toMatchObject({ text: 'Here.' });
  });

  it('takes the reply that was sent while the connection was cut', async () => {
    const { provider, nextCall } = stage();
    const server = await startServer(provider, { tools: [deleting().tool] });
    const link = await cuttableLink(server.url);
    const answer = sdk(link.url, { browserId: 'one-browser-for-all-tabs' }).start({ query: 'Go' });
    const call = await nextCall();
    call.callTool('delete_example', { of: 'it' });
    call.finish();
    const { callId } = await awaiting(answer);
    link.cut();
    await answer.reply(callId, { approved: true });
    say(await nextCall(), 'Gone.');
    expect(await answer.result).toMatchObject({ text: 'Gone.' });
  });
});
