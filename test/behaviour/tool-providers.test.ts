import {
  type AssistantMessage,
  currentTime,
  defineTool,
  type StreamedEntry,
  gemini,
  ollama,
  openai,
  type Prompt,
  type Provider,
  ProviderError,
  searchDocs,
  type Tool,
  type ToolDeclaration,
  type ToolMessage,
  type UserMessage,
} from '@rivulet/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { toContents } from '../../packages/server/src/providers/gemini/contents.js';
import { hear, type RunningFake, startFake, toPrompt } from '../harness/fakes.js';
import { entriesOf, serviceOf, textOf } from '../harness/service.js';
import { toolEntries } from '../harness/tools.js';
import { startUpstream } from '../harness/upstream.js';

const NOON = new Date('2026-07-01T12:00:00Z');
const SECTIONS = [
  { id: 1, file: 'A.md', page: 'A', title: 'Offsets', slug: 'offsets', body: 'A place.' },
];
const TOOLS = [searchDocs({ sections: SECTIONS }), currentTime({ now: () => NOON })];

const FOUND = { sections: [{ title: 'Offsets', link: '/docs/A.md#offsets', text: 'A place.' }] };
const TOLD = {
  time_zone: 'Europe/Berlin',
  now: 'Wednesday, 1 July 2026 at 14:00:00 GMT+02:00',
};
const searched = (callId: string) => ({ type: 'tool_result', callId, result: FOUND });
const looked = (callId: string) => ({ type: 'tool_result', callId, result: TOLD });
const call = (callId: string, name: string) => ({ type: 'tool_call', callId, name });

type Name = 'gemini' | 'openai' | 'llamacpp' | 'ollama';
let fakes: Record<Name, RunningFake>;
let providers: Record<Name, Provider>;

beforeAll(async () => {
  const [google, compatible, local] = await Promise.all([
    startFake('gemini'),
    startFake('openai'),
    startFake('ollama'),
  ]);
  fakes = { gemini: google, openai: compatible, llamacpp: compatible, ollama: local };
  const baseUrl = `${compatible.url}/v1`;
  providers = {
    gemini: gemini({ apiKey: 'k', model: 'gemini-3-flash', baseUrl: google.url }),
    openai: openai({ baseUrl, model: 'gpt' }),
    // Sends the arguments of a call in pieces.
    llamacpp: openai({ baseUrl, model: 'llamacpp-m' }),
    ollama: ollama({ host: local.url, model: 'llama3.2' }),
  };
});

afterAll(() => Promise.all(Object.values(fakes).map((fake) => fake.stop())));

const ask = (
  provider: Provider,
  query: string,
  tools: readonly Tool[] = TOOLS,
): Promise<StreamedEntry[]> =>
  entriesOf(
    serviceOf(provider, { tools, limits: { maxToolRounds: 3 } }).generateResponseStream({
      query,
    }),
  );

describe.each(['gemini', 'openai', 'llamacpp', 'ollama'] as const)('a model of %s', (name) => {
  it('calls a tool, is told the result, and answers with it', async () => {
    const entries = await ask(providers[name], 'tool-once');
    expect(toolEntries(entries)).toMatchObject([
      { ...call('call-1', 'search_docs'), arguments: { query: 'offset' } },
      searched('call-1'),
    ]);
    expect(textOf(entries)).toMatch(/^Let me look\.\n\nThe tools gave .*A place\./);
    expect(entries.at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
  });

  it.each(['tool-two', 'tool-two-frames'])('calls two tools at once: %s', async (query) => {
    const entries = await ask(providers[name], query);
    expect(toolEntries(entries)).toMatchObject([
      { ...call('call-1', 'search_docs'), arguments: { query: 'offset' } },
      { ...call('call-2', 'current_time'), arguments: { time_zone: 'Europe/Berlin' } },
      searched('call-1'),
      looked('call-2'),
    ]);
    expect(textOf(entries)).toMatch(/A place\..*14:00:00/);
  });

  it('calls tools in two turns, and knows its calls by its own ids', async () => {
    const entries = await ask(providers[name], 'tool-two-turns');
    expect(toolEntries(entries)).toMatchObject([
      call('call-1', 'search_docs'),
      searched('call-1'),
      call('call-2', 'current_time'),
      looked('call-2'),
    ]);
    expect(textOf(entries)).toMatch(/A place\..*14:00:00/);
  });

  it.each([
    ['tool-unknown', 'there is no tool of this name; there is: search_docs, current_time'],
    ['tool-bad-arguments', 'the arguments are wrong: query: '],
    ['tool-no-object', 'the arguments are not an object'],
    ['tool-bad-zone', 'there is no time zone '],
  ])('is told what was wrong with its call, and answers: %s', async (query, told) => {
    const entries = await ask(providers[name], query);
    expect(toolEntries(entries)).toMatchObject([
      { type: 'tool_call' },
      { type: 'tool_result', error: expect.stringContaining(told) },
    ]);
    expect(textOf(entries)).toContain(told);
    expect(entries.at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
  });

  it('stops calling when it is told to', async () => {
    const entries = await ask(providers[name], 'tool-endless');
    expect(toolEntries(entries)).toHaveLength(6);
    expect(textOf(entries)).toContain('The tools gave');
    expect(entries.at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
  });

  it('that does not stop even then ends the answer as `tool_limit`', async () => {
    expect((await ask(providers[name], 'tool-stubborn')).at(-1)).toMatchObject({
      type: 'error',
      code: 'tool_limit',
    });
  });

  it('may be called by many at once', async () => {
    const all = await Promise.all(
      Array.from({ length: 20 }, () => ask(providers[name], 'tool-two-turns')),
    );
    expect(all.map(textOf).every((text) => text.includes('14:00:00'))).toBe(true);
    await expect.poll(fakes[name].stats).toMatchObject({ active: 0 });
  });
});

/** The body of a request, which the fakes say back. */
async function echoed(provider: Provider, prompt: Partial<Prompt>): Promise<unknown> {
  const { text, error } = await hear(provider, { ...toPrompt('echo'), ...prompt });
  expect(error).toBeUndefined();
  return JSON.parse(text);
}

const declared = (parameters: z.ZodObject): ToolDeclaration =>
  defineTool({ name: 't', description: 'T.', parameters, execute: () => 0 });

const TOOL_TURN: [UserMessage, AssistantMessage, ToolMessage] = [
  { role: 'user', text: 'echo' },
  {
    role: 'assistant',
    text: '',
    toolCalls: [{ callId: 'call-1', name: 't', arguments: { a: 1 } }],
  },
  { role: 'tool', results: [{ callId: 'call-1', name: 't', result: { b: 2 } }] },
];

describe('gemini', () => {
  it('refuses a call that comes back without its signature, or with another', async () => {
    const first = await hear(providers.gemini, { ...toPrompt('tool-once'), tools: TOOLS });
    const finish = first.deltas.at(-1);
    const raw = finish?.type === 'finish' ? finish.raw! : undefined;
    const goOn = (change: (part: object) => object) =>
      hear(providers.gemini, {
        ...toPrompt('tool-once'),
        tools: TOOLS,
        messages: [
          { role: 'user', text: 'tool-once' },
          {
            role: 'assistant',
            text: 'Let me look.',
            raw: { ...raw!, parts: raw!.parts.map((part) => change(part as object)) },
          },
          { role: 'tool', results: [{ callId: 'call-1', name: 'search_docs', result: 1 }] },
        ],
      });
    expect((await goOn((part) => part)).error).toBeUndefined();
    const without = await goOn((part) => ({ ...part, thoughtSignature: undefined }));
    expect(without.error).toMatchObject({ failure: 'bad_request' });
    expect(without.error).toHaveProperty('detail', expect.stringContaining('thought_signature'));
    const other = await goOn((part) => ({ ...part, thoughtSignature: 'b3RoZXI=' }));
    expect(other.error).toMatchObject({ failure: 'bad_request' });
  });

  it('is told of parameters in the words that it knows', async () => {
    const parameters = z.strictObject({
      query: z.string().min(1).describe('What to look for'),
      count: z.int().positive().max(9),
      ratio: z.number().optional(),
      level: z.literal([1, 2]).describe('How deep.'),
      unit: z.enum(['m', 'ft']).nullable(),
      tags: z.array(z.string()).max(3),
      pair: z.tuple([z.string(), z.number()]),
      either: z.union([z.string(), z.number()]),
      when: z.iso.datetime(),
      mail: z.email(),
      open: z.record(z.string(), z.number()),
      any: z.unknown(),
      shape: z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('dot') }),
        z.object({ kind: z.literal('line'), length: z.number() }),
      ]),
      format: z.object({ enum: z.string(), $ref: z.string() }),
    });
    const tools = [declared(parameters), ...TOOLS];
    expect(
      (await hear(providers.gemini, { ...toPrompt('tool-once'), tools })).error,
    ).toBeUndefined();
    const body = await echoed(providers.gemini, { tools });
    expect(body).toHaveProperty('tools[0].functionDeclarations[0].parameters.properties', {
      query: { type: 'string', description: 'What to look for' },
      count: { type: 'integer', minimum: 0, maximum: 9 },
      ratio: { type: 'number' },
      level: { type: 'number', description: 'How deep. One of: 1, 2.' },
      unit: { type: 'string', enum: ['m', 'ft'], nullable: true },
      tags: { type: 'array', items: { type: 'string' }, maxItems: 3 },
      pair: {
        type: 'array',
        items: { anyOf: [{ type: 'string' }, { type: 'number' }] },
        minItems: 2,
        maxItems: 2,
      },
      either: { anyOf: [{ type: 'string' }, { type: 'number' }] },
      when: { type: 'string', format: 'date-time' },
      mail: { type: 'string' },
      open: { type: 'object' },
      any: { type: 'string' },
      shape: {
        anyOf: [
          {
            type: 'object',
            properties: { kind: { type: 'string', enum: ['dot'] } },
            required: ['kind'],
          },
          {
            type: 'object',
            properties: { kind: { type: 'string', enum: ['line'] }, length: { type: 'number' } },
            required: ['kind', 'length'],
          },
        ],
      },
      format: {
        type: 'object',
        properties: { enum: { type: 'string' }, $ref: { type: 'string' } },
        required: ['enum', '$ref'],
      },
    });
  });

  it('is told of no parameters where there are none', async () => {
    const body = await echoed(providers.gemini, { tools: [declared(z.object({}))] });
    expect(body).toHaveProperty('tools[0].functionDeclarations', [
      { name: 't', description: 'T.' },
    ]);
  });

  it('is told that the tools are not to be called any more', async () => {
    const body = await echoed(providers.gemini, { tools: TOOLS, toolChoice: 'none' });
    expect(body).toMatchObject({ toolConfig: { functionCallingConfig: { mode: 'NONE' } } });
  });

  it.each([
    ['ollama', 'llama3.2'],
    ['gemini', 'gemini-2.5-pro'],
  ])('is told in words what %s %s called, which it would refuse as a call', (name, model) => {
    const raw = { provider: name, model, parts: [{ functionCall: { name: 't', args: {} } }] };
    const [question, turn, results] = TOOL_TURN;
    expect(toContents([question, { ...turn, raw }, results], 'gemini-3-flash')).toEqual([
      { role: 'user', parts: [{ text: 'echo' }] },
      { role: 'user', parts: [{ text: 'The tool t, called with {"a":1}, gave {"b":2}' }] },
    ]);
  });
});

describe('two providers', () => {
  /** Fails once it is given results. */
  const failing = (provider: Provider): Provider => ({
    ...provider,
    async *stream(prompt, signal) {
      if (prompt.messages.length > 1) throw new ProviderError('unavailable', 'unable to: cut');
      yield* provider.stream(prompt, signal);
    },
  });

  it.each([
    ['gemini', 'ollama', /^The tools gave .*A place\./],
    ['ollama', 'gemini', /^## About “The tool search_docs, called with/],
    ['gemini', 'openai', /^The tools gave .*A place\./],
    ['openai', 'ollama', /^The tools gave .*A place\./],
  ] as const)('go on from each other: %s calls, %s answers', async (from, to, text) => {
    const llm = serviceOf([failing(providers[from]), providers[to]], { tools: TOOLS });
    const entries = await entriesOf(llm.generateResponseStream({ query: 'tool-once' }));
    expect(toolEntries(entries)).toMatchObject([{ type: 'tool_call' }, searched('call-1')]);
    const again = entries.findLastIndex(({ type }) => type === 'start');
    expect(entries[again]).toMatchObject({ attempt: 2, provider: to });
    expect(textOf(entries.slice(again))).toMatch(text);
    expect(entries.at(-1)).toMatchObject({ type: 'end', finishReason: 'stop' });
  });
});

describe('a client whose tool is refused', () => {
  /** The server repeats the name of the tool, and what it says about itself is only in that name. */
  const planted = async (name: string) => {
    let isRefused = true;
    const { url, requests } = await startUpstream((_, response) => {
      response.writeHead(isRefused ? 400 : 500, {
        'content-type': 'application/json',
      });
      const message = `the schema of "${name}" is wrong`;
      response.end(JSON.stringify({ error: isRefused ? message : 'unavailable' }));
    });
    const tool = { name, description: 'D.', parameters: { type: 'object' } };
    const tools = [{ ...tool, isClientTool: true as const }];
    return { url, requests, tools, recover: () => (isRefused = false) };
  };

  it.each([
    [
      'gemini',
      'API key not valid',
      (url: string) => gemini({ apiKey: 'k', model: 'm', baseUrl: url }),
    ],
    ['openai', 'invalid model name', (url: string) => openai({ baseUrl: url, model: 'm' })],
    ['ollama', 'does not support chat', (url: string) => ollama({ host: url, model: 'm' })],
  ] as const)('does not make %s seem misconfigured', async (_, words, create) => {
    const { url, tools } = await planted(words);
    const { error } = await hear(create(url), {
      ...toPrompt('hello'),
      tools,
    });
    expect(error).toMatchObject({ failure: 'bad_request' });
  });

  it('does not take the tools or the thoughts of others away', async () => {
    const google = await planted('include_thoughts');
    const model = gemini({
      apiKey: 'k',
      model: 'gemini-2.5-pro',
      baseUrl: google.url,
    });
    await hear(model, { ...toPrompt('hello'), tools: google.tools });
    await hear(model, 'hello');
    expect(google.requests.at(-1)?.body).toHaveProperty('generationConfig.thinkingConfig');

    const local = await planted('does not support tools');
    const own = ollama({ host: local.url, model: 'm' });
    const [tool] = local.tools;
    await hear(own, { ...toPrompt('hello'), tools: local.tools });
    local.recover();
    await hear(own, {
      ...toPrompt('hello'),
      tools: [{ ...tool!, isClientTool: undefined! }],
    });
    expect(local.requests.at(-1)?.body).toHaveProperty('tools');
  });
});

describe('ollama', () => {
  it('is given its thoughts and calls back, and the results by their tools', async () => {
    const [question, turn, results] = TOOL_TURN;
    const raw = { provider: 'ollama', model: 'llama3.2', parts: ['Which tool? '] };
    const body = await echoed(providers.ollama, {
      tools: [declared(z.object({ a: z.number() }))],
      messages: [question, { ...turn, raw }, results],
    });
    expect(body).toMatchObject({
      messages: [
        { role: 'user', content: 'echo' },
        {
          role: 'assistant',
          content: '',
          thinking: 'Which tool? ',
          tool_calls: [{ function: { name: 't', arguments: { a: 1 } } }],
        },
        { role: 'tool', content: '{"b":2}', tool_name: 't' },
      ],
      tools: [
        {
          type: 'function',
          function: {
            name: 't',
            description: 'T.',
            parameters: { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] },
          },
        },
      ],
    });
  });

  it('thinks before it calls, and the thoughts are kept for it', async () => {
    const { deltas } = await hear(providers.ollama, { ...toPrompt('tool-once'), tools: TOOLS });
    expect(deltas.at(-1)).toMatchObject({
      type: 'finish',
      raw: { provider: 'ollama', model: 'llama3.2', parts: ['Which tool? '] },
    });
  });

  it('is offered no tools by a model that has none, and asked without them from then on', async () => {
    const model = ollama({ host: fakes.ollama.url, model: 'gemma' });
    const { requests } = await fakes.ollama.stats();
    expect(textOf(await ask(model, 'no-tools'))).toBe('I have no tools.');
    expect(await fakes.ollama.stats()).toMatchObject({ requests: requests + 2 });
    expect(textOf(await ask(model, 'no-tools'))).toBe('I have no tools.');
    expect(await fakes.ollama.stats()).toMatchObject({ requests: requests + 3 });
  });
});

describe('openai', () => {
  it('is given its calls back as text, and the results by the ids of the calls', async () => {
    const [question, turn, results] = TOOL_TURN;
    const declaration = declared(z.object({ a: z.number() }));
    const messages = [question, turn, results];
    const body = await echoed(providers.openai, { tools: [declaration], messages });
    const called = { name: 't', arguments: '{"a":1}' };
    expect(body).toMatchObject({
      messages: [
        { role: 'user', content: 'echo' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'call-1', type: 'function', function: called }],
        },
        { role: 'tool', tool_call_id: 'call-1', content: '{"b":2}' },
      ],
      tools: [
        {
          type: 'function',
          function: {
            name: 't',
            description: 'T.',
            parameters: { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] },
          },
        },
      ],
    });
    expect(body).not.toHaveProperty('tool_choice');
  });

  it('is told that the tools are not to be called any more', async () => {
    const body = await echoed(providers.openai, { tools: TOOLS, toolChoice: 'none' });
    expect(body).toMatchObject({ tool_choice: 'none', tools: [{}, {}] });
  });

  it('is given back the thoughts and signatures of its own turn, and another model is not', async () => {
    const { deltas } = await hear(providers.openai, { ...toPrompt('signed-call'), tools: TOOLS });
    const finish = deltas.at(-1);
    const raw = finish?.type === 'finish' ? finish.raw : undefined;
    const [question, turn, results] = TOOL_TURN;
    const messages = [question, { ...turn, raw: raw! }, results];
    expect(await echoed(providers.openai, { tools: TOOLS, messages })).toHaveProperty(
      'messages[1]',
      {
        role: 'assistant',
        content: null,
        reasoning: 'Which? ',
        tool_calls: [
          {
            id: 'call-1',
            type: 'function',
            extra_content: { google: { thought_signature: 'c2ln' } },
            function: { name: 't', arguments: '{"a":1}' },
          },
        ],
      },
    );
    const other = await echoed(providers.llamacpp, { tools: TOOLS, messages });
    expect(JSON.stringify(other)).not.toMatch(/Which|signature/);
  });

  it.each([
    ['no-tools', 'I have no tools.'],
    ['no-tool-parser', 'I have no parser.'],
    ['no-tool-endpoint', 'I have no endpoint.'],
  ])('is asked without tools from then on where it has none (%s)', async (query, text) => {
    const model = openai({ baseUrl: `${fakes.openai.url}/v1`, model: 'gemma' });
    const { requests } = await fakes.openai.stats();
    expect(textOf(await ask(model, query))).toBe(text);
    expect(await fakes.openai.stats()).toMatchObject({ requests: requests + 2 });
    expect(textOf(await ask(model, query))).toBe(text);
    expect(await fakes.openai.stats()).toMatchObject({ requests: requests + 3 });
  });
});

describe('the tools that come with the server', () => {
  const { signal } = new AbortController();

  it('search the documentation of the project', async () => {
    const { sections } = (await searchDocs().call(
      { query: 'environment variables' },
      { signal },
    )) as { sections: { link: string }[] };
    expect(sections.length).toBeGreaterThan(0);
    expect(sections[0]!.link).toMatch(/^\/docs\/server-options.md#/);
  });

  it('find nothing where there is nothing', async () => {
    expect(await searchDocs().call({ query: 'xyzzy plugh' }, { signal })).toEqual({ sections: [] });
  });

  it('tell the time in a zone, and what to give where there is no such zone', async () => {
    const [, time] = TOOLS;
    expect(await time!.call({ time_zone: 'Europe/Berlin' }, { signal })).toEqual(TOLD);
    await expect(time!.call({ time_zone: 'Mars/Olympus' }, { signal })).rejects.toThrow(
      'there is no time zone "Mars/Olympus"; give its IANA name, such as Europe/Berlin',
    );
  });
});
