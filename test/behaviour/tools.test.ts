import { defineTool, ProviderError, mockProvider, type MockStep } from '@rivulet/server';
import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import * as z from 'zod';
import { providerConfigOf } from '../harness/providers.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { stage } from '../harness/stage.js';
import { answer, ASK, calling, held, runs, toolEntries } from '../harness/tools.js';

describe('defining a tool', () => {
  it('types the arguments by the schema, as they are after its checks', async () => {
    const tool = defineTool({
      name: 'typed',
      description: 'Has types.',
      parameters: z.object({
        n: z.string().transform(Number),
        unit: z.enum(['m', 'ft']).default('m'),
      }),
      execute(args) {
        expectTypeOf(args).toEqualTypeOf<{ n: number; unit: 'm' | 'ft' }>();
        return args;
      },
    });
    const { signal } = new AbortController();
    expect(await tool.call({ n: '9' }, { signal })).toEqual({ n: 9, unit: 'm' });
  });

  it('tells the model of the parameters as JSON Schema, without references', () => {
    const Place = z.object({ name: z.string() }).meta({ id: 'Place' });
    const tool = defineTool({
      name: 'distance',
      description: 'Measures.',
      parameters: z.object({ from: Place, to: Place.optional() }),
      execute: () => 0,
    });
    const place = {
      type: 'object',
      properties: { name: { type: 'string' } },
      required: ['name'],
    };
    expect(tool.parameters).toEqual({
      type: 'object',
      properties: { from: place, to: place },
      required: ['from'],
    });
  });

  it.each([
    ['a name with a space', { name: 'look up' }, /at most 64 letters/],
    ['a name that is too long', { name: 'x'.repeat(65) }, /at most 64 letters/],
    ['no description', { description: ' ' }, /no description/],
    ['parameters that are no object', { parameters: z.string() as never }, /no object/],
    ['a schema without JSON', { parameters: z.object({ at: z.date() }) }, /Date/],
    ['a schema that contains itself', { parameters: recursive() }, /contains itself/],
  ])('is refused with %s', (_, wrong, message) => {
    const fine = { name: 'fine', description: 'Fine.', parameters: z.object({}), execute: () => 0 };
    expect(() => defineTool({ ...fine, ...wrong })).toThrow(message);
  });

  it('is refused twice under one name', () => {
    const tool = runs('twice', () => 1);
    expect(() => serviceOf(stage().provider, { tools: [tool, tool] })).toThrow(/"twice"/);
  });
});

function recursive() {
  const node = z.object({
    get children() {
      return z.array(node);
    },
  });
  return node;
}

describe('an answer that needs a tool', () => {
  it('shows call and result in the log, gives the result to the model, and goes on', async () => {
    const { provider, nextCall } = stage();
    const height = runs('height', ({ of }) => ({ metres: of.length }));
    const entries = entriesOf(serviceOf(provider, { tools: [height] }).generateResponseStream(ASK));
    const first = await nextCall();
    first.say('Let me look.');
    first.callTool('height', { of: 'Ben Nevis' });
    first.finish();
    const second = await nextCall();
    answer(second, 'It is 9 m.');

    expect(await entries).toMatchObject([
      { type: 'start', attempt: 1, provider: 'stage' },
      { type: 'text', text: 'Let me look.' },
      { type: 'tool_call', callId: 'call-1', name: 'height', arguments: { of: 'Ben Nevis' } },
      { type: 'tool_result', callId: 'call-1', name: 'height', result: { metres: 9 } },
      { type: 'text', text: '\n\n' },
      { type: 'text', text: 'It is 9 m.' },
      { type: 'end', finishReason: 'stop', totalLength: 24 },
    ]);
    expect(first.prompt.tools).toEqual([
      { name: 'height', description: height.description, parameters: height.parameters },
    ]);
    expect(second.prompt.messages).toEqual([
      { role: 'user', text: ASK.query },
      {
        role: 'assistant',
        text: 'Let me look.',
        toolCalls: [
          expect.objectContaining({
            callId: 'call-1',
            name: 'height',
            arguments: { of: 'Ben Nevis' },
          }),
        ],
      },
      { role: 'tool', results: [{ callId: 'call-1', name: 'height', result: { metres: 9 } }] },
    ]);
  });

  it('gives the provider its own turn back as it was', async () => {
    const { provider, nextCall } = stage();
    const tools = [runs('height', () => 9)];
    const entries = entriesOf(serviceOf(provider, { tools }).generateResponseStream(ASK));
    const first = await nextCall();
    first.callTool('height', { of: 'it' });
    const raw = { provider: 'stage', model: 'script', parts: [{ signature: 'xyz' }] };
    first.finish('stop', raw);
    const second = await nextCall();
    expect(second.prompt.messages[1]).toMatchObject({ role: 'assistant', raw });
    answer(second);
    await entries;
  });

  it('has several calls of a turn run together, and their results in the order of the calls', async () => {
    const [slow, quick] = [held('slow'), held('quick')];
    const { entries, nextCall } = await calling([slow.tool, quick.tool], ['slow', 'quick']);
    await vi.waitFor(() => expect([slow.runs.length, quick.runs.length]).toEqual([1, 1]));
    quick.runs[0]!.give('second');
    slow.runs[0]!.give('first');
    answer(await nextCall());
    expect(toolEntries(await entries)).toMatchObject([
      { type: 'tool_call', callId: 'call-1', name: 'slow' },
      { type: 'tool_call', callId: 'call-2', name: 'quick' },
      { type: 'tool_result', callId: 'call-1', result: 'first' },
      { type: 'tool_result', callId: 'call-2', result: 'second' },
    ]);
  });

  it('counts the tokens of all its turns', async () => {
    const spends = (steps: MockStep[]): MockStep[] => [
      ...steps,
      { finish: 'stop', usage: { input_tokens: 5, output_tokens: 2 } },
    ];
    const provider = mockProvider(({ messages }) =>
      spends(
        messages.length > 1 ? [{ text: 'High.' }] : [{ call: 'height', arguments: { of: 'it' } }],
      ),
    );
    const llm = serviceOf(provider, { tools: [runs('height', () => 9)] });
    expect((await entriesOf(llm.generateResponseStream(ASK))).at(-1)).toMatchObject({
      usage: { input_tokens: 10, output_tokens: 4 },
    });
  });

  it('does not run the calls of a turn that was cut off', async () => {
    const { provider, nextCall } = stage();
    const ran = vi.fn<() => void>();
    const tools = [runs('height', ran)];
    const entries = entriesOf(serviceOf(provider, { tools }).generateResponseStream(ASK));
    const call = await nextCall();
    call.callTool('height', { of: 'it' });
    call.finish('length');
    expect((await entries).at(-1)).toMatchObject({ type: 'end', finishReason: 'length' });
    expect(ran).not.toHaveBeenCalled();
  });

  it('is kept in no cache, while the same question without a call is', async () => {
    let calls = true;
    const provider = mockProvider(({ messages }) =>
      calls && messages.length === 1
        ? [{ call: 'height', arguments: { of: 'it' } }, { finish: 'stop' }]
        : [{ text: 'High.' }, { finish: 'stop' }],
    );
    const llm = serviceOf(provider, { tools: [runs('height', () => 9)] });
    const source = async () => (await entriesOf(llm.generateResponseStream(ASK)))[0];
    await source();
    calls = false;
    expect(await source()).toMatchObject({ source: 'model' });
    expect(await source()).toMatchObject({ source: 'cache' });
  });

  it('ends as `too_large` when tools give more than an answer may have', async () => {
    const tools = [runs('book', () => 'x'.repeat(4_000))];
    const { entries, nextCall } = await calling(tools, ['book'], {
      limits: { maxResponseUnits: 5_000 },
    });
    const second = await nextCall();
    second.callTool('book', { of: 'more' });
    second.finish();
    expect((await entries).at(-1)).toMatchObject({ type: 'error', code: 'too_large' });
  });
});

describe('a tool that runs', () => {
  it('holds no place at the model, and its answer waits for one to go on', async () => {
    const { provider, nextCall } = stage();
    const height = held('height');
    const providers = [providerConfigOf(provider, { concurrency: 1 })] as const;
    const llm = serviceOf(provider, { providers, tools: [height.tool] });
    const one = entriesOf(llm.generateResponseStream(ASK));
    const first = await nextCall();
    first.callTool('height', { of: 'it' });
    first.finish();
    const other = entriesOf(llm.generateResponseStream({ query: 'And that one?' }));
    const second = await nextCall();
    height.runs[0]!.give(9);
    await vi.waitFor(() => expect(llm.providerStatus()).toMatchObject([{ waiting: 1 }]));
    answer(second, 'Low.');
    answer(await nextCall(), 'High.');
    expect(textOf(await other)).toBe('Low.');
    expect((await one).map(({ type }) => type)).toEqual([
      'start',
      'tool_call',
      'tool_result',
      'queued',
      'queued',
      'text',
      'end',
    ]);
  });
});

describe('leaving while a tool runs', () => {
  it('ends the answer at once, and reaches the signal of each tool', async () => {
    const [one, two] = [held('one'), held('two')];
    const { entries, controller, calls } = await calling([one.tool, two.tool], ['one', 'two']);
    await vi.waitFor(() => expect(two.runs).toHaveLength(1));
    controller.abort();
    // Neither tool listens to its signal, and neither ever ends.
    expect((await entries).at(-1)).toMatchObject({ type: 'error', code: 'cancelled' });
    expect([one, two].map((tool) => tool.runs[0]!.signal.aborted)).toEqual([true, true]);
    expect(calls).toHaveLength(1);
  });

  it("by a break reaches the tools, too, and a failure after that is nobody's", async () => {
    const { provider, nextCall } = stage();
    const signals: AbortSignal[] = [];
    let fail: (error: Error) => void = () => {};
    const fails = defineTool({
      name: 'fails',
      description: 'Fails when it is told to.',
      parameters: z.object({}),
      execute: (_, { signal }) => {
        signals.push(signal);
        return new Promise((_resolve, reject) => void (fail = reject));
      },
    });
    const slow = held('slow');
    const tools = [fails, slow.tool];
    const unhandled = vi.fn<() => void>();
    process.on('unhandledRejection', unhandled);
    const reading = (async () => {
      for await (const entry of serviceOf(provider, { tools }).generateResponseStream(ASK)) {
        if (entry.type === 'tool_result') break;
      }
    })();
    const first = await nextCall();
    first.callTool('missing', {});
    first.callTool('fails', {});
    first.callTool('slow', { of: 'it' });
    first.finish();
    await reading;
    expect([...signals, slow.runs[0]!.signal].map(({ aborted }) => aborted)).toEqual([true, true]);
    fail(new Error('too late'));
    await new Promise(setImmediate);
    expect(unhandled).not.toHaveBeenCalled();
    process.off('unhandledRejection', unhandled);
  });
});

describe('a provider that fails', () => {
  const cut = new ProviderError('unavailable', 'unable to go on: cut');

  it('after a tool ran is replaced by one that goes on from the result; nothing runs twice', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const ran = vi.fn<() => number>(() => 9);
    const llm = serviceOf([api.provider, local.provider], { tools: [runs('height', ran)] });
    const entries = entriesOf(llm.generateResponseStream(ASK));
    const first = await api.nextCall();
    first.say('Let me look.');
    first.callTool('height', { of: 'it' });
    first.finish();
    (await api.nextCall()).fail(cut);
    const taken = await local.nextCall();
    expect(taken.prompt.messages).toMatchObject([
      { role: 'user' },
      { role: 'assistant', text: 'Let me look.', toolCalls: [{ name: 'height' }] },
      { role: 'tool', results: [{ result: 9 }] },
    ]);
    answer(taken, 'It is 9 m.');
    expect(await entries).toMatchObject([
      { type: 'start', attempt: 1, provider: 'api' },
      { type: 'text', text: 'Let me look.' },
      { type: 'tool_call' },
      { type: 'tool_result' },
      { type: 'start', attempt: 2, provider: 'local', reason: 'unable to go on: cut' },
      { type: 'text', text: 'It is 9 m.' },
      { type: 'end', totalLength: 10 },
    ]);
    expect(ran).toHaveBeenCalledTimes(1);
  });

  it('before its turn was over has its calls forgotten', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const ran = vi.fn<() => number>(() => 9);
    const llm = serviceOf([api.provider, local.provider], { tools: [runs('height', ran)] });
    const entries = entriesOf(llm.generateResponseStream(ASK));
    const first = await api.nextCall();
    first.callTool('height', { of: 'it' });
    first.fail(cut);
    const taken = await local.nextCall();
    expect(taken.prompt.messages).toHaveLength(1);
    answer(taken);
    expect(await entries).toMatchObject([
      { type: 'start', attempt: 1, provider: 'local' },
      { type: 'text' },
      { type: 'end' },
    ]);
    expect(ran).not.toHaveBeenCalled();
  });

  it('is not asked again for the turns after: who called the tools goes on', async () => {
    const [api, local] = [stage('api'), stage('local')];
    const tools = [runs('height', () => 9)];
    const llm = serviceOf([api.provider, local.provider], { tools });
    const entries = entriesOf(llm.generateResponseStream(ASK));
    (await api.nextCall()).fail(cut);
    const first = await local.nextCall();
    first.callTool('height', { of: 'it' });
    first.finish();
    answer(await local.nextCall());
    expect((await entries).filter(({ type }) => type === 'start')).toHaveLength(1);
    expect(api.calls).toHaveLength(1);
  });
});
