import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chatModels } from '../../packages/server/src/providers/openai/models.js';
import { openai } from '../../packages/server/src/providers/openai/openai.js';
import type { Delta, Prompt } from '../../packages/server/src/providers/provider.js';
import { hear, type RunningFake, startFake, toPrompt } from '../harness/fakes.js';
import { framesOf, play, readRecordings } from '../harness/recordings.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { startUpstream } from '../harness/upstream.js';

const RECORDINGS = readRecordings('openai');
const NEVER = new AbortController().signal;
const FOR_VISITORS = /^unable to [a-z ]+: [a-z ;]+$/;

/** Plays the recording for each request that the adapter makes. */
async function start(name: string) {
  const { url, requests } = await startUpstream((_, response) => play(RECORDINGS[name]!, response));
  return { model: openai({ baseUrl: `${url}/v1`, model: 'stories' }), requests, url };
}

/** The result of the recording. */
async function replay(name: string, prompt: Partial<Prompt> = {}) {
  const { model, requests } = await start(name);
  return { ...(await hear(model, { ...toPrompt('Once upon a time'), ...prompt })), requests };
}

/** The content of the recorded frames. */
function contentOf(name: string) {
  const frames = framesOf(RECORDINGS[name]!);
  const deltas = frames.map(({ choices }) => choices?.[0]?.delta ?? {});
  return {
    text: deltas.map(({ content }) => content ?? '').join(''),
    thoughts: deltas.map((delta) => delta.reasoning ?? delta.reasoning_content ?? '').join(''),
    usage: frames.findLast(({ usage }) => usage != null)?.usage,
  };
}

const tools = [{ name: 'weather', description: 'Tells it.', parameters: { type: 'object' } }];

const ANSWERS = [
  ['ollama-chat', 'length'],
  ['ollama-chat-stop', 'stop'],
  ['litellm-chat', 'length'],
  ['litellm-llamacpp', 'length'],
  ['llamacpp-chat', 'length'],
  ['llamacpp-json-schema', 'stop'],
  ['llamacpp-error-no-messages', 'length'],
] as const;

const BLANK = [
  ['llamacpp-stop', 'provider_unavailable', /sent an empty one/],
  ['litellm-thinking', 'too_large', /limit of tokens before the answer began/],
  ['ollama-thinking', 'too_large', /limit of tokens before the answer began/],
] as const;

const CALLS = [
  ['ollama-tool-call', /^call_/, { city: 'Oslo' }],
  ['litellm-tool-call', /^[0-9a-f-]{36}$/, { city: 'Oslo' }],
  ['llamacpp-tool-call', /^call__0_weather_/, { city: "I'm sorry, I didn't know." }],
] as const;

const BROKEN = [
  ['ollama-runner-killed', 'truncated', /without a finish reason$/],
  ['litellm-runner-killed', 'unavailable', /: litellm\.BadRequestError: Ollama_chatException/],
  ['llamacpp-error-context-length', 'truncated', /without a finish reason$/],
] as const;

const REFUSALS = [
  [
    'litellm-error-model-missing-upstream',
    'misconfigured',
    /NotFoundError.*Check OPENAI_MODEL$/,
    1,
  ],
  ['litellm-error-unknown-model', 'misconfigured', /Invalid model name.*Check OPENAI_MODEL$/, 1],
  ['litellm-error-upstream-dead', 'unavailable', /HTTP 500: litellm\.InternalServerError/, 1],
  ['llamacpp-error-temperature', 'unavailable', /HTTP 500: 1 validation error:$/, 1],
  [
    'llamacpp-not-a-route',
    'misconfigured',
    /Not Found. Check OPENAI_BASE_URL, which ends in \/v1/,
    1,
  ],
  ['ollama-error-model-missing', 'misconfigured', /not found. Check OPENAI_MODEL$/, 1],
  ['ollama-error-no-messages', 'bad_request', /is too short - 'messages'$/, 1],
  ['ollama-error-no-tools', 'bad_request', /does not support tools$/, 2],
] as const;

const LISTS = [
  // LiteLLM does not know the mode of the last two.
  ['litellm-models', ['stories', 'tools', 'think', 'nope', 'dead', 'llamacpp']],
  ['ollama-models', ['two', 'hog', 'small', 'tools', 'chat', 'think', 'stories']],
] as const;

describe('a recorded answer of an OpenAI-compatible server', () => {
  it.each(ANSWERS)('%s is its text to the character, "%s" and its counts', async (name, reason) => {
    const { text, deltas, error } = await replay(name);
    const content = contentOf(name);
    expect(error).toBeUndefined();
    expect(text).toBe(content.text);
    expect(text).not.toBe('');
    expect(deltas.at(-1)).toEqual({
      type: 'finish',
      reason,
      usage: content.usage
        ? {
            input_tokens: content.usage.prompt_tokens,
            output_tokens: content.usage.completion_tokens,
          }
        : {},
      model: framesOf(RECORDINGS[name]!)[0]!.model,
    });
  });

  it('has counts where the server was asked for them and gives any', () => {
    const counted = ANSWERS.map(([name]) => name).filter((name) => contentOf(name).usage);
    expect(counted).toEqual(['ollama-chat', 'litellm-chat']);
  });

  it.each(BLANK)('%s has no text and ends as `%s`', async (name, code, message) => {
    const { model } = await start(name);
    const request = { query: 'Once upon a time' };
    const entries = await entriesOf(
      serviceOf(model).generateResponseStream(request, { thoughts: true }),
    );
    const thoughts = entries.map((entry) => (entry.type === 'thought' ? entry.text : '')).join('');
    expect(thoughts).toBe(contentOf(name).thoughts);
    // An attempt begins with its first thought.
    expect(entries.filter(({ type }) => type !== 'thought' && type !== 'start')).toEqual([
      { type: 'error', code, message: expect.stringMatching(message) },
    ]);
  });

  it.each(CALLS)('%s is one call with its id', async (name, id, args) => {
    const { deltas } = await replay(name, { tools });
    expect(deltas.filter(({ type }) => type !== 'working').slice(0, -1)).toEqual([
      {
        type: 'tool_call',
        providerId: expect.stringMatching(id),
        name: 'weather',
        arguments: args,
      },
    ] satisfies Delta[]);
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });

  it('llamacpp-tool-call shows a sign of life for each piece of its arguments', async () => {
    const { deltas } = await replay('llamacpp-tool-call', { tools });
    const pieces = framesOf(RECORDINGS['llamacpp-tool-call']!).length - 2;
    expect(deltas.filter(({ type }) => type === 'working')).toHaveLength(pieces);
  });

  it.each(BROKEN)('%s is the text so far, and then "%s"', async (name, failure, detail) => {
    const { text, error } = await replay(name);
    expect(text).toBe(contentOf(name).text);
    expect(error).toMatchObject({
      failure,
      message: expect.stringMatching(FOR_VISITORS),
      detail: expect.stringMatching(detail),
    });
  });

  it.each(REFUSALS)('%s is "%s"', async (name, failure, detail, requests) => {
    const heard = await replay(name, { tools });
    expect(heard.deltas).toEqual([]);
    expect(heard.error).toMatchObject({
      failure,
      message: expect.stringMatching(FOR_VISITORS),
      detail: expect.stringMatching(detail),
    });
    expect(heard.error).not.toHaveProperty('message', expect.stringMatching(/litellm|\/opt\//));
    expect(heard.error).not.toHaveProperty('detail', expect.stringContaining('/opt/'));
    expect(heard.requests).toHaveLength(requests);
  });

  it.each(LISTS)('%s names the models that may chat', async (name, models) => {
    const { url } = await start(name);
    const server = { apiKey: undefined, baseUrl: `${url}/v1` };
    const found = await chatModels(server, NEVER);
    expect(found.map((model) => model.replace(':latest', ''))).toEqual(models);
  });

  it.each(['ollama-chat-stop', 'litellm-chat', 'llamacpp-chat'])(
    '%s is the text so far and a failure, wherever its connection is cut',
    async (name) => {
      const recording = RECORDINGS[name]!;
      const { text } = contentOf(name);
      const { chunks } = recording.response;
      const end = chunks.findIndex(
        (chunk) =>
          chunk.text.includes('"finish_reason":"') || chunk.text.includes('"finish_reason": "'),
      );
      for (let count = 2; count <= end; count++) {
        const cut = { ...recording.response, chunks: chunks.slice(0, count), cut: true } as const;
        const { url } = await startUpstream((_, response) =>
          play({ ...recording, response: cut }, response),
        );
        const model = openai({ baseUrl: `${url}/v1`, model: 'stories' });
        const heard = await hear(model, 'Once upon a time');
        expect(text.startsWith(heard.text)).toBe(true);
        expect(heard.error).toMatchObject({ failure: 'truncated' });
      }
    },
  );

  it('has a test for each recording', () => {
    const tables = [ANSWERS, BLANK, CALLS, BROKEN, REFUSALS, LISTS];
    const names = tables.flatMap((table) => table.map(([name]) => name));
    expect(names.toSorted()).toEqual(Object.keys(RECORDINGS).toSorted());
  });
});

describe('the fake of OpenAI-compatible servers', () => {
  let fake: RunningFake;
  beforeAll(async () => {
    fake = await startFake('openai');
  });
  afterAll(() => fake.stop());

  const ask = async (path: string, body?: object) => {
    const response = await fetch(`${fake.url}${path}`, {
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    });
    const type = response.headers.get('content-type')?.replace(/;.*/, '');
    return { status: response.status, type, body: await response.text() };
  };
  const recorded = (name: string) => {
    const { status, headers, chunks } = RECORDINGS[name]!.response;
    const type = headers['content-type']?.replace(/;.*/, '');
    return { status, type, body: chunks.map(({ text }) => text).join('') };
  };
  const shapesOf = (body: string): string[] => [
    ...new Set([...body.matchAll(/^data: (.*)$/gm)].map(([, data]) => shapeOf(data!))),
  ];

  it.each([
    ['stories', 'burst', 'ollama-chat', ['ollama-chat']],
    ['stories', 'finish-length', 'ollama-chat', ['ollama-chat']],
    ['stories', 'thoughts', 'ollama-thinking', ['ollama-chat']],
    ['stories', 'tool-two-turns', 'ollama-tool-call', ['ollama-chat', 'ollama-thinking']],
    ['litellm-m', 'burst', 'litellm-chat', ['litellm-chat']],
    ['litellm-m', 'thoughts', 'litellm-thinking', ['litellm-chat']],
    ['litellm-m', 'error-frame', 'litellm-runner-killed', ['litellm-chat']],
    ['llamacpp-m', 'burst', 'llamacpp-chat', ['llamacpp-chat']],
  ])('sends frames as %s for %s as those of %s', async (model, question, name, others) => {
    const withTools = question.startsWith('tool') && { tools: [{}] };
    const body = {
      model,
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: question }],
      ...withTools,
    };
    const own = await ask('/v1/chat/completions', body);
    const real = recorded(name);
    expect([own.status, own.type]).toEqual([real.status, real.type]);
    const known = [name, ...others].flatMap((other) => shapesOf(recorded(other).body));
    for (const each of shapesOf(own.body)) expect(known).toContain(each);
  });

  it('lists models with the fields of a real one', async () => {
    const own = await ask('/v1/models');
    const real = JSON.parse(recorded('ollama-models').body) as { data: unknown[] };
    expect(shapeOf(own.body)).toBe(
      shapeOf(JSON.stringify({ ...real, data: real.data.slice(0, 1) })),
    );
  });

  it.each([
    ['ollama-error-no-tools', 'no-tools', { tools: [{}], model: 'stories:latest' }],
    ['ollama-error-model-missing', '404', {}],
    ['litellm-error-unknown-model', '400-model', {}],
    ['llamacpp-not-a-route', '404-path', {}],
  ])('refuses as in %s', async (name, question, more) => {
    const messages = [{ role: 'user', content: question }];
    const own = await ask('/v1/chat/completions', { model: 'm', stream: true, messages, ...more });
    const real = recorded(name);
    expect(own.status).toBe(real.status);
    const withoutMore = JSON.parse(real.body) as { error?: { provider_specific_fields?: unknown } };
    delete withoutMore.error?.provider_specific_fields;
    expect(JSON.parse(own.body)).toEqual(withoutMore);
  });
});

/** The names and types of the fields; `data` itself if it is not JSON. */
function shapeOf(data: string): string {
  if (!data.startsWith('{')) return data;
  return JSON.stringify(shape(JSON.parse(data)));
}

function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shape);
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value;
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([key, each]) => [key, shape(each)]));
}
