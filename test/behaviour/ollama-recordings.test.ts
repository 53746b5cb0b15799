import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  findModel,
  isLoaded,
  loadModel,
  ollamaVersion,
} from '../../packages/server/src/providers/ollama/inspect.js';
import { ollama } from '../../packages/server/src/providers/ollama/ollama.js';
import type { Delta, Prompt } from '../../packages/server/src/providers/provider.js';
import { hear, type RunningFake, startFake, toPrompt } from '../harness/fakes.js';
import { contentOf, play, readRecordings } from '../harness/recordings.js';
import { entriesOf, serviceOf } from '../harness/service.js';
import { startUpstream } from '../harness/upstream.js';

const RECORDINGS = readRecordings('ollama');
const NEVER = new AbortController().signal;

/** The result of the recording, which is played once for each request of the adapter. */
async function replay(name: string, prompt: Partial<Prompt> = {}) {
  const recording = RECORDINGS[name]!;
  const { url, requests } = await startUpstream((_, response) => play(recording, response));
  const model = ollama({ host: url, model: 'stories' });
  return { ...(await hear(model, { ...toPrompt('Once upon a time'), ...prompt })), requests };
}

const tools = [{ name: 'weather', description: 'Tells it.', parameters: { type: 'object' } }];

/** The prompt that an answer of these needs, beside a question. */
const ANSWERS: readonly (readonly [name: string, reason: string])[] = [
  ['chat-length', 'length'],
  ['chat-non-ascii-prompt', 'length'],
  ['chat-prompt-cut-silently', 'length'],
  ['chat-stop', 'stop'],
  ['chat-format-schema', 'stop'],
  ['chat-tool-reply', 'length'],
  ['error-bad-role', 'length'],
];

const BLANK = [
  ['chat-stop-at-once', 'provider_unavailable', /sent an empty one/],
  ['chat-thinking-length', 'too_large', /limit of tokens before the answer began/],
  ['chat-thinking-unasked', 'too_large', /limit of tokens before the answer began/],
  ['load', 'provider_unavailable', /sent an empty one/],
  ['unload', 'provider_unavailable', /sent an empty one/],
] as const;

const REFUSALS = [
  ['error-context-length', 'bad_request', /question is too long/, /input length exceeds/, 1],
  ['error-no-tools', 'bad_request', /does not accept/, /does not support tools/, 2],
  ['error-no-thinking', 'bad_request', /does not accept/, /does not support thinking/, 2],
  ['error-no-chat', 'misconfigured', /not set up correctly/, /Set OLLAMA_MODEL/, 1],
  ['error-model-missing', 'misconfigured', /not set up/, /ollama pull stories/, 1],
  ['error-not-a-route', 'misconfigured', /not set up/, /No Ollama answers at this URL/, 1],
  ['error-bad-option', 'bad_request', /does not accept/, /must be of type integer/, 1],
  ['error-bad-format', 'bad_request', /does not accept/, /invalid format/, 1],
] as const;

/** Played to the functions that look at an Ollama. */
const INSPECTED = ['tags', 'ps', 'version'];
const SHOWN = ['show-stories', 'show-think', 'show-tools', 'show-nomic-embed-like'];

describe('a recorded answer of a real Ollama', () => {
  it.each(ANSWERS)('%s is its text to the character, "%s" and its counts', async (name, reason) => {
    const heard = await replay(name);
    const { text, last } = contentOf(RECORDINGS[name]!);
    expect(heard.error).toBeUndefined();
    expect(heard.text).toBe(text);
    expect(text).not.toBe('');
    expect(heard.deltas.at(-1)).toEqual({
      type: 'finish',
      reason,
      usage: { input_tokens: last['prompt_eval_count'], output_tokens: last['eval_count'] },
      model: last['model'],
    });
  });

  it.each(BLANK)('%s has no text and ends as `%s`', async (name, code, message) => {
    const recording = RECORDINGS[name]!;
    const { url } = await startUpstream((_, response) => play(recording, response));
    const llm = serviceOf(ollama({ host: url, model: 'stories' }));
    const request = { query: 'Once upon a time' };
    const entries = await entriesOf(llm.generateResponseStream(request, { thoughts: true }));
    const thoughts = entries.map((entry) => (entry.type === 'thought' ? entry.text : '')).join('');
    expect(thoughts).toBe(contentOf(recording).thoughts);
    // An attempt begins with its first thought.
    expect(entries.filter(({ type }) => type !== 'thought' && type !== 'start')).toEqual([
      { type: 'error', code, message: expect.stringMatching(message) },
    ]);
  });

  it('chat-tool-call is one call with its id', async () => {
    const { deltas } = await replay('chat-tool-call', { tools });
    expect(deltas.slice(0, -1)).toEqual([
      {
        type: 'tool_call',
        providerId: expect.stringMatching(/^call_/),
        name: 'weather',
        arguments: { city: 'Oslo' },
      },
    ] satisfies Delta[]);
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });

  it('chat-runner-killed is the text so far, and then a failure', async () => {
    const heard = await replay('chat-runner-killed');
    expect(heard.text).toBe(contentOf(RECORDINGS['chat-runner-killed']!).text);
    expect(heard.error).toMatchObject({
      failure: 'unavailable',
      detail: expect.stringMatching(/unexpected EOF$/),
    });
  });

  it.each(REFUSALS)('%s is "%s"', async (name, failure, message, detail, requests) => {
    const heard = await replay(name, { tools, thoughts: true });
    expect(heard.deltas).toEqual([]);
    expect(heard.error).toMatchObject({
      failure,
      message: expect.stringMatching(message),
      detail: expect.stringMatching(detail),
    });
    // A slow machine may also get the request that checks if the model is loaded.
    expect(heard.requests.filter(({ path }) => path === '/api/chat')).toHaveLength(requests);
  });

  it('is the text so far and a failure, wherever its connection is cut', async () => {
    const recording = RECORDINGS['chat-stop']!;
    const { text } = contentOf(recording);
    const { chunks } = recording.response;
    for (let count = 2; count < chunks.length; count++) {
      const { url } = await startUpstream((_, response) =>
        play(
          {
            ...recording,
            response: { ...recording.response, chunks: chunks.slice(0, count), cut: true },
          },
          response,
        ),
      );
      const heard = await hear(ollama({ host: url, model: 'stories' }), 'Once upon a time');
      expect(text.startsWith(heard.text)).toBe(true);
      expect(heard.error).toMatchObject({ failure: 'truncated' });
    }
  });

  it('has a test for each recording', () => {
    const names = [ANSWERS, BLANK, REFUSALS].flatMap((table) => table.map(([name]) => name));
    expect(
      [...names, 'chat-tool-call', 'chat-runner-killed', ...INSPECTED, ...SHOWN].toSorted(),
    ).toEqual(Object.keys(RECORDINGS).toSorted());
  });
});

describe('a recorded Ollama', () => {
  /** Answers each path with its recording; `/api/show` with that of the model, or of `show-stories`. */
  const start = () =>
    startUpstream(({ path, body }, response) => {
      const model = String((body as { model?: string } | undefined)?.model).replace(/:.*/, '');
      const name = path === '/api/show' ? `show-${model}` : path.replace('/api/', '');
      return play(RECORDINGS[name] ?? RECORDINGS['show-stories']!, response);
    });

  it('is known by its version, models, capabilities and context', async () => {
    const { url } = await start();
    expect(await ollamaVersion(url, NEVER)).toBe('0.0.0');
    expect(await findModel(url, undefined, NEVER)).toEqual({
      name: 'two:latest',
      modifiedAt: '2026-11-25T22:07:17.894238836Z',
      capabilities: ['completion'],
      contextLength: 512,
    });
    expect(await findModel(url, 'think', NEVER)).toMatchObject({
      capabilities: ['completion', 'thinking'],
    });
    expect(await findModel(url, 'tools', NEVER)).toMatchObject({
      capabilities: ['completion', 'tools'],
    });
    expect(await findModel(url, 'nomic-embed-like', NEVER)).toMatchObject({
      capabilities: ['embedding'],
    });
  });

  it('has a model in memory, or not', async () => {
    const { url } = await start();
    expect(await isLoaded(url, 'hog', NEVER)).toBe(true);
    expect(await isLoaded(url, 'hog:latest', NEVER)).toBe(true);
    expect(await isLoaded(url, 'hog:1b', NEVER)).toBe(false);
    expect(await isLoaded(url, 'stories', NEVER)).toBe(false);
  });

  it('loads a model by a request without messages', async () => {
    const { url, requests } = await startUpstream((_, response) =>
      play(RECORDINGS['load']!, response),
    );
    await loadModel(url, 'stories', NEVER, { keepAlive: '5m' });
    expect(requests).toMatchObject([
      { path: '/api/chat', body: { model: 'stories', messages: [], keep_alive: '5m' } },
    ]);
  });
});

describe('the fake of Ollama', () => {
  let fake: RunningFake;
  beforeAll(async () => {
    fake = await startFake('ollama');
  });
  afterAll(() => fake.stop());

  const ask = async (path: string, body?: object) => {
    const response = await fetch(`${fake.url}${path}`, {
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    });
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      body: await response.text(),
    };
  };
  const chat = (content: string, more: object = {}) =>
    ask('/api/chat', { model: 'llama3.2', messages: [{ role: 'user', content }], ...more });
  const recorded = (name: string) => {
    const { status, headers, chunks } = RECORDINGS[name]!.response;
    return { status, type: headers['content-type'], body: chunks.map(({ text }) => text).join('') };
  };
  const lines = (body: string): object[] =>
    body
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as object);

  it.each([
    ['burst', 'chat-length'],
    ['thoughts', 'chat-thinking-length'],
    ['tool-two-turns', 'chat-tool-call'],
    ['error-frame', 'chat-runner-killed'],
  ])('sends frames for %s as those of %s', async (question, name) => {
    const withTools = { tools: [{ type: 'function', function: tools[0] }] };
    const own = await chat(question, question.startsWith('tool') ? withTools : {});
    const real = recorded(name);
    expect([own.status, own.type]).toEqual([real.status, real.type]);
    const shapes = new Set(lines(real.body).map(shapeOf));
    // A model of the fake may say something before it calls a tool.
    const others = new Set(lines(recorded('chat-length').body).map(shapeOf));
    const thinking = new Set(lines(recorded('chat-thinking-length').body).map(shapeOf));
    for (const line of lines(own.body)) {
      expect([...shapes, ...others, ...thinking]).toContain(shapeOf(line));
    }
    for (const shape of shapes) expect(lines(own.body).map(shapeOf)).toContain(shape);
  });

  it('sends each line in a chunk of its own', async () => {
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }] });
    const { hostname, port } = new URL(fake.url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    socket.write(
      `POST /api/chat HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    let all = '';
    for await (const data of socket.setEncoding('latin1')) all += String(data);
    const chunks = [...all.matchAll(/\r\n[0-9a-f]+\r\n(\{.*\}\n)(?=\r\n)/g)];
    expect(chunks.length).toBeGreaterThan(20);
    expect(all.match(/\n\{"model"/g)).toHaveLength(chunks.length);
  });

  it.each([
    ['/api/tags', undefined, 'tags', 'models.0'],
    ['/api/ps', undefined, 'ps', 'models.0'],
    ['/api/version', undefined, 'version', ''],
    ['/api/show', { model: 'stories' }, 'show-stories', ''],
  ])('answers %s with the fields of a real one', async (path, body, name, at) => {
    await chat('burst');
    const own = await ask(path, body);
    const real = recorded(name);
    expect([own.status, own.type]).toEqual([real.status, real.type]);
    const fields = (text: string): string[] => {
      let value = JSON.parse(text) as Record<string, unknown>;
      for (const key of at.split('.').filter(Boolean)) value = value[key] as typeof value;
      return Object.keys(value).toSorted();
    };
    expect(fields(own.body)).toEqual(fields(real.body));
  });

  it.each([
    ['error-no-tools', 'stories', { tools: [{}] }],
    ['error-no-thinking', 'stories', { think: true }],
    ['error-no-chat', 'nomic-embed-text', {}],
    ['error-context-length', 'stories', { truncate: false }],
  ])('refuses as in %s', async (name, model, more) => {
    const long = name === 'error-context-length' ? 'The cat sat on the mat. '.repeat(300) : 'hi';
    const own = await chat(long, { model, ...more });
    const real = recorded(name);
    expect(own.status).toBe(real.status);
    const named = JSON.stringify(JSON.parse(real.body)).replaceAll(/nomic-embed-like/g, model);
    expect(JSON.parse(own.body)).toEqual(JSON.parse(named));
  });

  it('cuts a prompt without a word where it is not told not to', async () => {
    expect(await chat('x '.repeat(5_000), { model: 'stories' })).toMatchObject({ status: 200 });
  });

  it('loads a model ahead, and frees it', async () => {
    const model = 'qwen3:0.6b';
    expect(await isLoaded(fake.url, model, NEVER)).toBe(false);
    await loadModel(fake.url, model, NEVER);
    expect(await isLoaded(fake.url, model, NEVER)).toBe(true);
    const { body } = await ask('/api/chat', { model, messages: [], keep_alive: 0 });
    expect(shapeOf(JSON.parse(body) as object)).toBe(
      shapeOf(JSON.parse(recorded('unload').body) as object),
    );
    expect(await isLoaded(fake.url, model, NEVER)).toBe(false);
  });

  it('lists a model only when it is loaded, and answers meanwhile', async () => {
    const slow = await startFake('ollama');
    await slow.tell('/_fake/load', { hold: true });
    const answer = hear(ollama({ host: slow.url, model: 'llama3.2' }), 'burst');
    await expect.poll(() => slow.stats()).toMatchObject({ active: 1 });
    expect(await isLoaded(slow.url, 'llama3.2', NEVER)).toBe(false);
    await slow.tell('/_fake/load', { hold: false });
    expect((await answer).error).toBeUndefined();
    expect(await isLoaded(slow.url, 'llama3.2', NEVER)).toBe(true);
    await nextTurn();
    await slow.stop();
  });
});

/** The names of the fields, of `message` and of calls, too. */
function shapeOf(value: object): string {
  return JSON.stringify(value, (key, each: unknown) =>
    key === 'arguments' || typeof each !== 'object' || each === null ? typeof each : each,
  );
}
