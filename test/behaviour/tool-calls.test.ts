import { defineTool, ToolError } from '@rivulet/server';
import { describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { recorded } from '../harness/log.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { type Call, stage } from '../harness/stage.js';
import {
  answer,
  ASK,
  calling,
  held,
  resultsTold,
  runs,
  type ServiceOptions,
  toolEntries,
} from '../harness/tools.js';

describe('a call that fails', () => {
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  const secret = 'postgres://me:open-sesame@db';

  it.each<[string, unknown, string | RegExp]>([
    [
      'a `ToolError` says so in its words',
      new ToolError('there is no such hill'),
      'there is no such hill',
    ],
    [
      'any other error is only named a failure',
      new Error(`cannot reach ${secret}`),
      'the tool failed',
    ],
    ['what is thrown is no error', secret, 'the tool failed'],
  ])('because %s', async (_, thrown, told) => {
    const tools = [
      runs('height', () => {
        throw thrown;
      }),
    ];
    const { entries, nextCall } = await calling(tools, ['height']);
    const second = await nextCall();
    expect(resultsTold(second)).toEqual([{ callId: 'call-1', name: 'height', error: told }]);
    answer(second);
    const all = await entries;
    expect(toolEntries(all)[1]).toMatchObject({ type: 'tool_result', error: told });
    expect(all.at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
    expect(JSON.stringify(all)).not.toContain('open-sesame');
  });

  it.each<[string, string, unknown, RegExp]>([
    ['there is no such tool', 'launch', { of: 'it' }, /no tool of this name; there is: height$/],
    [
      'an argument is of another type',
      'height',
      { of: 7 },
      /^the arguments are wrong: of: .*string/,
    ],
    ['an argument is missing', 'height', {}, /^the arguments are wrong: of: /],
    ['the arguments are a text', 'height', 'it', /^the arguments are not an object$/],
    ['the arguments are a list', 'height', ['it'], /^the arguments are not an object$/],
    ['the arguments are null', 'height', null, /^the arguments are not an object$/],
  ])('because %s is told the model, and nothing runs', async (_, name, args, told) => {
    const ran = vi.fn<() => void>();
    const { provider, nextCall } = stage();
    const tools = [runs('height', ran)];
    const entries = entriesOf(serviceOf(provider, { tools }).generateResponseStream(ASK));
    const first = await nextCall();
    first.callTool(name, args);
    first.finish();
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([{ name, error: expect.stringMatching(told) }]);
    answer(second);
    expect(toolEntries(await entries)).toMatchObject([
      { type: 'tool_call', name, arguments: args },
      { type: 'tool_result', name, error: expect.stringMatching(told) },
    ]);
    expect(ran).not.toHaveBeenCalled();
  });

  it.each([
    ['a circle', circular],
    ['a BigInt', 1n],
  ])('because it gives %s, which is no JSON', async (_, value) => {
    const { entries, nextCall } = await calling([runs('height', () => value)], ['height']);
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([{ error: 'the tool failed' }]);
    answer(second);
    await entries;
  });

  it('because it takes too long has its signal aborted, and the others their results', async () => {
    const slow = held('slow');
    const { entries, nextCall } = await calling(
      [slow.tool, runs('quick', () => 'here')],
      ['slow', 'quick'],
      { limits: { toolTimeoutMs: 20 } },
    );
    const second = await nextCall();
    expect(resultsTold(second)).toEqual([
      { callId: 'call-1', name: 'slow', error: 'the tool did not finish within 20 ms' },
      { callId: 'call-2', name: 'quick', result: 'here' },
    ]);
    expect(slow.runs[0]!.signal.aborted).toBe(true);
    answer(second);
    expect((await entries).at(-1)).toMatchObject({ type: 'end' });
  });

  it('because too many came at once is not run', async () => {
    const ran = vi.fn<() => number>(() => 1);
    const { entries, nextCall } = await calling(
      [runs('height', ran)],
      ['height', 'height', 'height'],
      { limits: { maxToolCallsPerRound: 2 } },
    );
    const second = await nextCall();
    expect(resultsTold(second)).toMatchObject([
      { result: 1 },
      { result: 1 },
      { error: 'not run: there were more than 2 calls at once' },
    ]);
    expect(ran).toHaveBeenCalledTimes(2);
    answer(second);
    await entries;
  });

  it('is a line in the log, with neither arguments nor messages', async () => {
    const log = recorded();
    const fails = runs('height', ({ of }) => {
      throw new TypeError(`no ${of}\nnor ${secret}`);
    });
    const { logger } = log;
    const { entries, nextCall } = await calling([fails], ['height', 'xyzzy'], { logger });
    answer(await nextCall());
    await entries;
    expect(log.events).toMatchObject([
      { event: 'LLM_TOOL_FAILED', reason: 'unknown_tool' },
      {
        event: 'LLM_TOOL_FAILED',
        reason: 'failed',
        tool: 'height',
        err: { type: 'TypeError', stack: expect.arrayContaining([expect.stringMatching(/^at /)]) },
      },
      { event: 'LLM_STREAM_COMPLETED', toolCalls: 2 },
    ]);
    for (const secretWord of ['xyzzy', 'no height', 'open-sesame']) {
      expect(log.written()).not.toContain(secretWord);
    }
  });
});

describe('the result of a tool', () => {
  const resultOf = async (value: unknown, more?: ServiceOptions) => {
    const { entries, nextCall } = await calling([runs('height', () => value)], ['height'], more);
    const second = await nextCall();
    answer(second);
    await entries;
    return resultsTold(second)[0];
  };

  it.each([
    ['nothing', undefined, null],
    ['a function', () => 1, null],
    ['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['an object', { a: [1, { b: null }], c: undefined }, { a: [1, { b: null }] }],
  ])('that is %s is what JSON makes of it', async (_, value, told) => {
    expect(await resultOf(value)).toEqual({ callId: 'call-1', name: 'height', result: told });
  });

  it.each([
    ['a text', 'x'.repeat(100), /^x{40} … \(cut: it has 100 characters\)$/],
    ['an object', { x: 'x'.repeat(100) }, /^\{"x":"x{34} … \(cut: it has 108 characters\)$/],
    ['a text with a character of two units there', `${'x'.repeat(39)}🦊🦊`, /^x{39} … \(cut/],
  ])('that is too long is cut: %s', async (_, value, told) => {
    expect(await resultOf(value, { limits: { maxToolResultUnits: 40 } })).toMatchObject({
      result: expect.stringMatching(told),
    });
  });

  it('and what the tool did to its arguments do not change the log', async () => {
    const shared = { metres: 9 };
    const spoils = defineTool({
      name: 'height',
      description: 'Spoils what it gets.',
      // zod passes on unchanged the values that it does not inspect.
      parameters: z.object({ of: z.unknown() }),
      execute({ of }) {
        Object.assign(of as object, { spoilt: true });
        return shared;
      },
    });
    const { provider, nextCall } = stage();
    const entries = entriesOf(serviceOf(provider, { tools: [spoils] }).generateResponseStream(ASK));
    const first = await nextCall();
    first.callTool('height', { of: {} });
    first.finish();
    const second = await nextCall();
    shared.metres = 0;
    answer(second);
    expect(toolEntries(await entries)).toMatchObject([
      { arguments: { of: {} } },
      { result: { metres: 9 } },
    ]);
    expect(JSON.stringify(await entries)).not.toContain('spoilt');
  });
});

describe('a model that calls tools without end', () => {
  async function* rounds(nextCall: () => Promise<Call>, count: number) {
    for (let i = 0; i < count; i++) {
      const call = await nextCall();
      yield call;
      call.callTool('height', { of: 'it' });
      call.finish();
    }
  }

  async function endless() {
    const { provider, nextCall } = stage();
    const tools = [runs('height', () => 9)];
    const llm = serviceOf(provider, { tools, limits: { maxToolRounds: 3 } });
    const entries = entriesOf(llm.generateResponseStream(ASK));
    for await (const call of rounds(nextCall, 3)) expect(call.prompt.toolChoice).toBeUndefined();
    return { entries, last: await nextCall() };
  }

  it('is asked once more, without tools, when its rounds are over', async () => {
    const { entries, last } = await endless();
    expect(last.prompt).toMatchObject({ toolChoice: 'none', tools: [{ name: 'height' }] });
    answer(last, 'About 9 m.');
    const all = await entries;
    expect(toolEntries(all)).toHaveLength(6);
    expect(textOf(all)).toBe('About 9 m.');
    expect(all.at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
  });

  it('ends as `tool_limit` when it calls one even then', async () => {
    const { entries, last } = await endless();
    last.callTool('height', { of: 'it' });
    last.finish();
    const all = await entries;
    expect(toolEntries(all)).toHaveLength(6);
    expect(all.at(-1)).toMatchObject({ type: 'error', code: 'tool_limit' });
  });

  it('has answered when there is text beside that call', async () => {
    const { entries, last } = await endless();
    last.say('About 9 m.');
    last.callTool('height', { of: 'it' });
    last.finish();
    expect((await entries).at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
  });
});
