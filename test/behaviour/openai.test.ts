import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openai, type OpenAiOptions } from '../../packages/server/src/providers/openai/openai.js';
import type { Provider } from '../../packages/server/src/providers/provider.js';
import { answerTo } from '../fakes/shared.js';
import { hear, type RunningFake, startFake, toPrompt, unusedUrl } from '../harness/fakes.js';
import { describeLeaving } from '../harness/leaving.js';
import { recorded } from '../harness/log.js';
import { packetings, sendPieces, startUpstream } from '../harness/upstream.js';

const KEY = 'sk-key-that-stays-here';
const MODEL = 'stories';
const SECRET = 'xyzzy plugh';
const BEGUN = 'This is how it begins. ';

/** The sentence that a visitor may read: no name of a host, model or setting, and no words of upstream. */
const FOR_VISITORS = /^unable to [a-z ]+: [a-z ;]+$/;

let fake: RunningFake;
let provider: Provider;

const create = (options: Partial<OpenAiOptions> = {}): Provider =>
  openai({ apiKey: KEY, model: MODEL, baseUrl: `${fake.url}/v1/`, ...options });

beforeAll(async () => {
  fake = await startFake('openai');
  provider = create();
});

afterAll(() => fake.stop());

describe('an answer of openai', () => {
  it.each(['stories', 'litellm-m', 'llamacpp-m'])(
    'arrives whole and in order, and finishes with the usage that %s gives',
    async (model) => {
      const { text, deltas, error } = await hear(create({ model }), 'why is the sky blue?');
      expect(error).toBeUndefined();
      expect(text).toBe(answerTo('why is the sky blue?'));
      expect(deltas.length).toBeGreaterThan(20);
      expect(deltas.at(-1)).toEqual({
        type: 'finish',
        reason: 'stop',
        usage:
          model === 'llamacpp-m' ? {} : { input_tokens: 26, output_tokens: expect.any(Number) },
        model,
      });
    },
  );

  it('is asked for with the system text, the roles and the limits of the prompt', async () => {
    const { text } = await hear(provider, {
      system: 'Be brief.',
      messages: [
        { role: 'user', text: 'hi' },
        { role: 'assistant', text: 'hello' },
        { role: 'user', text: 'stop at once' },
        { role: 'assistant', text: '' },
        { role: 'user', text: 'echo' },
      ],
      temperature: 0,
      topP: 0.5,
      topK: 3,
      maxTokens: 64,
      stop: ['1', '2', '3', '4', '5'],
      seed: 7,
    });
    expect(JSON.parse(text)).toEqual({
      model: MODEL,
      stream: true,
      stream_options: { include_usage: true },
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'hello' },
        { role: 'user', content: 'stop at once' },
        { role: 'user', content: 'echo' },
      ],
      temperature: 0,
      top_p: 0.5,
      top_k: 3,
      max_tokens: 64,
      stop: ['1', '2', '3', '4'],
      seed: 7,
    });
  });

  it('is asked for without what the prompt leaves open', async () => {
    const { text } = await hear(provider, 'echo');
    expect(Object.keys(JSON.parse(text) as object).toSorted()).toEqual([
      'messages',
      'model',
      'stream',
      'stream_options',
    ]);
  });

  it('is asked for with the key in a header, or without one', async () => {
    const headers = async (apiKey: string | undefined): Promise<object> =>
      JSON.parse((await hear(create({ apiKey }), 'echo-headers')).text) as object;
    expect(await headers(KEY)).toMatchObject({ authorization: `Bearer ${KEY}` });
    expect(await headers(undefined)).not.toHaveProperty('authorization');
  });

  it('does not read the variables of the official client', async () => {
    const variables = {
      OPENAI_API_KEY: 'sk-of-the-process',
      OPENAI_BASE_URL: await unusedUrl(),
      OPENAI_ORG_ID: 'org-of-the-process',
      OPENAI_PROJECT_ID: 'project-of-the-process',
    };
    Object.assign(process.env, variables);
    onTestFinished(() => {
      for (const name of Object.keys(variables)) Reflect.deleteProperty(process.env, name);
    });
    const { text } = await hear(create({ apiKey: undefined }), 'echo-headers');
    expect(text).toContain('"host"');
    expect(text).not.toMatch(/of-the-process/);
  });

  it('has every part of a packet with several, in order', async () => {
    const { deltas } = await hear(provider, 'several-parts');
    expect(deltas.slice(0, -1)).toEqual([
      { type: 'text', text: 'one ' },
      { type: 'text', text: 'two ' },
      { type: 'text', text: 'three' },
    ]);
  });

  it.each(['stories', 'litellm-m', 'llamacpp-m'])(
    'keeps the thoughts of %s apart from the text',
    async (model) => {
      const { deltas } = await hear(create({ model }), 'thoughts');
      expect(deltas.slice(0, -1)).toEqual([
        { type: 'thought', text: 'Let me think. ' },
        { type: 'thought', text: 'Yes.' },
        { type: 'text', text: 'It is so.' },
      ]);
    },
  );

  it('has a thought once that came under both names', async () => {
    const { deltas } = await hear(provider, 'thoughts-twice');
    expect(deltas.slice(0, -1)).toEqual([
      { type: 'thought', text: 'Yes.' },
      { type: 'text', text: 'It is so.' },
    ]);
  });

  it('takes `<think>` before other content for thoughts', async () => {
    const { deltas, text } = await hear(provider, 'think-tags');
    expect(deltas[0]).toEqual({ type: 'thought', text: 'Yes.' });
    expect(text).toBe('It is so.');
  });

  it.each([
    ['empty-parts', 'Still here.'],
    ['comments', 'Still here.'],
    ['unknown-part', 'Known.'],
    ['reason-without-done', 'All.'],
    ['text-with-reason', 'All said.'],
    ['refusal', 'I will not.'],
  ])('passes over what says nothing, and loses no text: %s', async (fault, text) => {
    const heard = await hear(provider, fault);
    expect(heard.error).toBeUndefined();
    expect(heard.text).toBe(text);
    expect(heard.deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });

  it('has the usage of Groq', async () => {
    expect((await hear(provider, 'groq-usage')).deltas.at(-1)).toMatchObject({
      usage: { input_tokens: 7, output_tokens: 42 },
    });
  });

  it('keeps characters whole that are cut between packets', async () => {
    const { text, error } = await hear(provider, 'split-utf8');
    expect(error).toBeUndefined();
    expect(text).toBe('für 🌊 und 👩‍💻 日本');
  });

  it('may have 20 MB', async () => {
    const { text, deltas } = await hear(provider, 'huge');
    expect(text.length).toBeGreaterThan(20_000_000);
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });

  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['tool_calls', 'stop'],
    ['tired', 'other'],
  ])('that ends with %s finishes with "%s"', async (wire, reason) => {
    const { text, deltas } = await hear(provider, `finish-${wire}`);
    expect(text).toBe(BEGUN);
    expect(deltas.at(-1)).toMatchObject({ type: 'finish', reason });
  });

  it.each(
    ['\n\n', '\r\n\r\n', '\r\r'].flatMap((end) =>
      packetings(
        [
          '{"choices":[{"delta":{"content":"für "}}]}',
          '{"choices":[{"delta":{"content":"🌊\u2028"}}]}',
        ]
          .map((data) => `event: x\nid: 1\ndata:${data}${end}`)
          .concat(`: a comment${end}data: {"choices":[{"delta":{},"finish_reason":"stop"}]}`)
          .join(''),
      ).map(([name, packets]) => [JSON.stringify(end), name, packets] as const),
    ),
  )(
    'is read whatever its events end with (%s) and however they arrive (%s)',
    async (_, __, packets) => {
      const { url } = await startUpstream((_request, response) =>
        sendPieces(response, 'text/event-stream', packets),
      );
      const { text, error } = await hear(openai({ baseUrl: url, model: 'm' }), 'hello');
      expect(error).toBeUndefined();
      expect(text).toBe('für 🌊\u2028');
    },
  );
});

describe('the calls of openai', () => {
  const callsOf = async (question: string) => {
    const { deltas } = await hear(provider, { ...toPrompt(question), tools: [] });
    return deltas.filter(({ type }) => type === 'tool_call');
  };

  it.each([
    [
      'same-index',
      [
        { providerId: 'a', arguments: { a: 1 } },
        { providerId: 'b', arguments: { a: 2 } },
      ],
    ],
    [
      'no-index',
      [
        { providerId: 'a', arguments: { a: 1 } },
        { providerId: 'b', arguments: {} },
      ],
    ],
    ['object-arguments', [{ arguments: { a: 1 } }]],
    ['cut-arguments', [{ providerId: 'a', arguments: '{"a":' }]],
  ])('are told apart however they come: %s', async (question, calls) => {
    expect(await callsOf(question)).toEqual(
      calls.map((call) => ({ type: 'tool_call', name: 't', ...call })),
    );
  });

  it('show a sign of life with each packet before they are complete', async () => {
    const reader = new AbortController();
    const answer = provider.stream(toPrompt('slow-arguments'), reader.signal);
    const left = new Error('the reader left');
    let signs = 0;
    const reading = (async () => {
      for await (const delta of answer) {
        expect(delta).toEqual({ type: 'working' });
        // Three pieces come in at most three packets.
        signs++;
        reader.abort(left);
      }
    })();
    await expect(reading).rejects.toBe(left);
    expect(signs).toBeGreaterThanOrEqual(1);
  });

  it('are bounded in their number and length', async () => {
    const calls = (count: number, text: string) =>
      Array.from({ length: count }, (_, index) => ({
        index,
        function: { name: 't', arguments: text },
      }));
    const frame = (list: object[]) =>
      `data: ${JSON.stringify({ choices: [{ delta: { tool_calls: list } }] })}\n\n`;
    const heard = async (frames: string[]) => {
      const { url } = await startUpstream((_, response) =>
        sendPieces(response, 'text/event-stream', frames),
      );
      return hear(openai({ baseUrl: url, model: 'm' }), 'hello');
    };
    expect((await heard([frame(calls(1_001, ''))])).error).toMatchObject({
      failure: 'truncated',
      detail: expect.stringMatching(/calls too many tools$/),
    });
    const long = frame(calls(1, 'x'.repeat(1024 * 1024)));
    const { error, deltas } = await heard(Array.from({ length: 17 }, () => long));
    expect(error).toMatchObject({
      failure: 'truncated',
      detail: expect.stringMatching(/too long$/),
    });
    expect(deltas.every(({ type }) => type === 'working')).toBe(true);
  });
});

describe('a failure of openai', () => {
  it.each([
    ['400', 'bad_request', /HTTP 400: Invalid 'temperature'/],
    ['400-model', 'misconfigured', /Invalid model name.*Check OPENAI_MODEL$/],
    ['400-filter', 'content_filter', /HTTP 400: The response was filtered\.$/],
    ['403-moderation', 'content_filter', /HTTP 403: Your chosen model requires moderation/],
    ['401', 'misconfigured', /Check OPENAI_API_KEY$/],
    ['402', 'misconfigured', /Insufficient credits\. Check the plan and the billing/],
    ['403', 'misconfigured', /Check OPENAI_API_KEY$/],
    ['404', 'misconfigured', /model 'nope' not found\. Check OPENAI_MODEL$/],
    ['404-openai', 'misconfigured', /does not exist.*Check OPENAI_MODEL$/],
    ['404-path', 'misconfigured', /Not Found\. Check OPENAI_BASE_URL, which ends in \/v1/],
    ['413', 'bad_request', /HTTP 413: Request too large/],
    ['429-quota', 'misconfigured', /exceeded your current quota.*billing/],
    ['400-tool-use', 'unavailable', /HTTP 400: Failed to call a function/],
    ['500', 'unavailable', /HTTP 500: litellm\.InternalServerError/],
    ['503', 'unavailable', /HTTP 503: Loading model/],
    ['text-error', 'unavailable', /HTTP 500: out of memory$/],
    ['html', 'unavailable', /HTTP 502$/],
    ['html-200', 'unavailable', /nothing of its protocol came\. Check .*OPENAI_BASE_URL/],
    ['cut-first', 'unavailable', /^unable to reach openai: connection closed\./],
    ['cut-open', 'unavailable', /^unable to reach openai: connection closed\./],
    ['error-first', 'unavailable', /failed while it answered: Provider disconnected$/],
    ['error-frame-busy', 'busy', /Rate limit exceeded$/],
    ['error-frame-context', 'bad_request', /maximum context length/],
    ['silent-end-first', 'truncated', /without a finish reason$/],
  ])('answering %s is "%s" and says why to the operator alone', async (fault, failure, detail) => {
    const { deltas, error } = await hear(provider, fault);
    expect(deltas).toEqual([]);
    expect(error).toMatchObject({ name: 'ProviderError', failure });
    expect(error).toHaveProperty('detail', expect.stringMatching(detail));
    expect(error).toHaveProperty('message', expect.stringMatching(FOR_VISITORS));
  });

  it.each([
    ['429', 37_000, 37_000],
    ['429-ms', 1_500, 1_500],
    ['429-date', 50_000, 60_000],
  ])('is "busy" on %s, and says when to come back', async (fault, least, most) => {
    const { error } = await hear(provider, fault);
    expect(error).toMatchObject({ failure: 'busy' });
    const { retryAfterMs } = error as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThanOrEqual(least);
    expect(retryAfterMs).toBeLessThanOrEqual(most);
  });

  it('without a key tells to set one', async () => {
    const { error } = await hear(create({ apiKey: undefined }), '401');
    expect(error).toMatchObject({ failure: 'misconfigured', advice: 'Set OPENAI_API_KEY' });
  });

  it('is a redirect, which is not followed', async () => {
    const { url, requests } = await startUpstream((_, response) => {
      response.writeHead(307, { location: '/elsewhere' }).end();
    });
    const { error } = await hear(create({ baseUrl: url }), 'hello');
    expect(error).toMatchObject({
      failure: 'misconfigured',
      advice: expect.stringMatching(/OPENAI_BASE_URL/),
    });
    expect(requests).toHaveLength(1);
  });

  it.each([
    ['error-frame', BEGUN, 'unavailable'],
    ['error-frame-text', 'Once ', 'unavailable'],
    ['done-without-reason', 'Once ', 'truncated'],
    ['silent-end', BEGUN, 'truncated'],
    ['cut', BEGUN, 'truncated'],
    ['junk-frame', BEGUN, 'truncated'],
    ['finish-content_filter', BEGUN, 'content_filter'],
    ['finish-error', BEGUN, 'unavailable'],
    ['finish-abort', BEGUN, 'unavailable'],
  ])(
    'in the middle of the text (%s) comes after the text so far',
    async (fault, begun, failure) => {
      const { text, deltas, error } = await hear(provider, fault);
      if (fault === 'cut') expect(begun.startsWith(text)).toBe(true);
      else expect(text).toBe(begun);
      expect(deltas.every(({ type }) => type === 'text')).toBe(true);
      expect(error).toMatchObject({ failure });
    },
  );

  it('is sent once: the client of OpenAI tries nothing again', async () => {
    const { requests } = await fake.stats();
    await hear(provider, '503');
    await hear(provider, '429');
    expect(await fake.stats()).toMatchObject({ requests: requests + 2 });
  });

  it('quotes at most 200 characters, and no markup', async () => {
    const long = await hear(provider, 'long-words');
    expect(long.error).toHaveProperty(
      'detail',
      expect.stringMatching(/HTTP 400: (Too long\. ){20}$/),
    );
    const markup = await hear(provider, 'markup-words');
    expect(markup.error).toHaveProperty('detail', expect.stringMatching(/HTTP 500$/));
  });

  it.each(
    ['leak', 'leak key', 'junk-frame', '400', '401', '403-moderation', 'error-frame', 'cut'].map(
      (fault) => fault.replace(/^(\S+)/, `$1 ${SECRET}`),
    ),
  )('repeats neither key nor prompt nor answer: %s', async (question) => {
    const { error } = await hear(provider, question);
    const shown = inspect(error, { depth: 10, showHidden: true });
    expect(error).toHaveProperty('name', 'ProviderError');
    expect(shown).not.toContain(KEY);
    expect(shown).not.toContain(SECRET);
    expect(shown).not.toContain('This is');
  });
});

describe('a parameter that a server does not take', () => {
  const all = { maxTokens: 9, temperature: 0.5, topP: 0.5, topK: 3 };

  it.each([
    ['no-parameters', ['max_tokens', 'temperature', 'top_p'], 3],
    ['no-top-k', ['top_k'], 1],
    ['no-usage', ['stream_options'], 1],
  ])('is left out from then on, and logged once (%s)', async (question, refused, again) => {
    const log = recorded();
    const own = create({ logger: log.logger });
    const asked = { ...toPrompt(question), ...all };
    const { requests } = await fake.stats();
    expect((await hear(own, asked)).error).toBeUndefined();
    expect(await fake.stats()).toMatchObject({ requests: requests + 1 + again });
    const { error } = await hear(own, asked);
    expect(error).toBeUndefined();
    expect(await fake.stats()).toMatchObject({ requests: requests + 2 + again });
    expect(log.events).toEqual(
      refused.map((parameter) =>
        expect.objectContaining({ event: 'OPENAI_PARAMETER_REFUSED', parameter, model: MODEL }),
      ),
    );
  });

  it('is `max_tokens` of newer models, which get `max_completion_tokens`', async () => {
    const { text } = await hear(create(), { ...toPrompt('no-parameters'), ...all });
    expect(JSON.parse(text)).toMatchObject({ max_completion_tokens: 9, top_k: 3 });
  });

  it('is taken all the same where the words came from the prompt', async () => {
    let words = 'Invalid prompt: tools are not supported';
    const { url, requests } = await startUpstream((_, response) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message: words } }));
    });
    const own = create({ baseUrl: url });
    const tools = [{ name: 't', description: 'T.', parameters: { type: 'object' } }];
    await hear(own, { ...toPrompt('hello'), tools });
    expect(requests.map(({ body }) => 'tools' in (body as object))).toEqual([true, false]);
    words = 'no';
    await hear(own, { ...toPrompt('hello'), tools });
    expect(requests.at(-1)?.body).toHaveProperty('tools');
  });

  const serverTool = {
    name: 't',
    description: 'T.',
    parameters: { type: 'object' },
  };
  const clientToolOf = (name: string, title: string) => ({
    name,
    description: 'D.',
    parameters: {
      type: 'object',
      properties: { a: { type: 'nonsense', title } },
    },
    isClientTool: true as const,
  });
  /** Refuses the schema of the client's tool, in the words of a real server. */
  const refusals = {
    'words that quote the schema': (name: string, title: string) => ({
      message: `JSON schema conversion failed:\nUnrecognized schema: {"title":"${title}"} of ${name}`,
    }),
    'words that quote the name': (name: string) => ({
      message: `Invalid schema for function '${name}': 'nonsense' is not valid`,
      param: 'tools[1].function.parameters',
    }),
    'the exact parameter': () => ({
      message: 'Unsupported parameter',
      param: 'tools',
    }),
  };

  it.each(Object.keys(refusals) as (keyof typeof refusals)[])(
    'is only left out of the request of the client whose tool the server refuses: %s',
    async (kind) => {
      const { url, requests } = await startUpstream(async ({ body }, response) => {
        const { tools = [] } = body as {
          tools?: { function: { name: string } }[];
        };
        const name = tools.at(-1)?.function.name ?? '';
        if (name === '' || name === 't')
          return sendPieces(response, 'text/event-stream', [
            'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
          ]);
        response.writeHead(400, { 'content-type': 'application/json' });
        return response.end(JSON.stringify({ error: refusals[kind](name, 'tools') }));
      });
      const log = recorded();
      const own = create({ baseUrl: url, logger: log.logger });
      const tools = [serverTool, clientToolOf('unsupported-tools', 'tools')];
      await hear(own, { ...toPrompt('hello'), tools });
      await hear(own, { ...toPrompt('hello'), tools: [serverTool] });
      expect(requests.at(-1)?.body).toHaveProperty('tools');
      expect(log.events).toEqual([]);
    },
  );

  it('is only left out of requests with the same options: a client may have chosen a refused value', async () => {
    const { url, requests } = await startUpstream(async ({ body }, response) => {
      const { temperature = 0 } = body as { temperature?: number };
      if (temperature <= 1)
        return sendPieces(response, 'text/event-stream', [
          'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
        ]);
      const error = {
        message: "Unsupported value: 'temperature'",
        param: 'temperature',
      };
      response.writeHead(400, { 'content-type': 'application/json' });
      return response.end(JSON.stringify({ error }));
    });
    const own = create({ baseUrl: url });
    await hear(own, { ...toPrompt('hello'), temperature: 1.5 });
    await hear(own, { ...toPrompt('hello'), temperature: 1.5 });
    await hear(own, { ...toPrompt('hello'), temperature: 0.5 });
    expect(requests.map(({ body }) => (body as { temperature?: number }).temperature)).toEqual([
      1.5,
      undefined,
      undefined,
      0.5,
    ]);
  });

  it.each([
    ['as they are', "Invalid schema for function 'not-a-valid-model': invalid model name"],
    ['in an error that repeats the request', `Invalid: ${'u'.repeat(2_000)}: INVALID MODEL NAME`],
  ])('does not make a model unknown where a client planted the words %s', async (_how, message) => {
    const { url } = await startUpstream((_, response) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message } }));
    });
    const tools = [clientToolOf('not-a-valid-model', 'invalid model name')];
    const { error } = await hear(create({ baseUrl: url }), {
      ...toPrompt('hello'),
      tools,
    });
    expect(error).toMatchObject({ failure: 'bad_request' });
  });

  it('is no reason to ask again where it was not sent', async () => {
    const { url, requests } = await startUpstream((_, response) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message: 'seed is not supported', param: 'seed' } }));
    });
    const { error } = await hear(create({ baseUrl: url }), 'hello');
    expect(error).toMatchObject({ failure: 'bad_request' });
    expect(requests).toHaveLength(1);
  });
});

describe('the model of openai', () => {
  const without = (): Provider => create({ model: undefined });
  const install = async (models: readonly string[]) => {
    await fake.tell('/_fake/models', models);
    onTestFinished(() => fake.tell('/_fake/models', ['stories']));
  };

  it('is the one that the server has, where none is named', async () => {
    await install(['text-embedding-3', 'qwen3']);
    const own = without();
    await own.prepare?.();
    expect(own.model).toBe('qwen3');
    expect(own.problem).toBeUndefined();
    expect(JSON.parse((await hear(own, 'echo')).text)).toMatchObject({ model: 'qwen3' });
  });

  it('has to be named where the server has several, or none', async () => {
    for (const models of [['a', 'b'], []]) {
      await install(models);
      const own = without();
      await own.prepare?.();
      expect(own.problem).toMatchObject({
        failure: 'misconfigured',
        advice: expect.stringMatching(/^Set OPENAI_MODEL/),
      });
      expect((await hear(own, 'hello')).error).toBe(own.problem);
    }
  });

  it('is looked for again while it is not known', async () => {
    const { url } = await startUpstream((_, response) => {
      response.writeHead(isUp ? 200 : 503, { 'content-type': 'application/json' });
      response.end(JSON.stringify(isUp ? { data: [{ id: 'late' }] } : {}));
    });
    let isUp = false;
    const own = create({ model: undefined, baseUrl: url });
    await own.prepare?.();
    expect(own.problem).toMatchObject({ failure: 'unavailable' });
    isUp = true;
    await expect
      .poll(async () => (await own.prepare?.(), own.model), { interval: 200 })
      .toBe('late');
    expect(own.problem).toBeUndefined();
  });

  it.each([
    ['html', 'text/html', '<html>', 'misconfigured'],
    ['no list', 'application/json', '{"data": 7}', 'unavailable'],
  ])('is not known where the server answers %s', async (_, type, body, failure) => {
    const { url } = await startUpstream((_request, response) => {
      response.writeHead(200, { 'content-type': type }).end(body);
    });
    const own = create({ model: undefined, baseUrl: url });
    await own.prepare?.();
    expect(own.problem).toMatchObject({
      failure,
      advice: expect.stringContaining('OPENAI_BASE_URL'),
    });
  });

  it('is looked for again when the server does not have it any more', async () => {
    await install(['no-such-model']);
    const own = without();
    await own.prepare?.();
    expect(own.model).toBe('no-such-model');
    expect(own.prepare).toBeUndefined();
    await install(['stories']);
    expect((await hear(own, 'hello')).error).toMatchObject({ failure: 'misconfigured' });
    await expect
      .poll(async () => (await own.prepare?.(), own.model), { interval: 200 })
      .toBe('stories');
    expect((await hear(own, 'hello')).error).toBeUndefined();
  });

  it('may be another for one request', async () => {
    const { text } = await hear(provider.withModel!('other'), 'echo');
    expect(JSON.parse(text)).toMatchObject({ model: 'other' });
    const { error } = await hear(provider.withModel!('no-such-model'), 'hello');
    expect(error).toMatchObject({ failure: 'misconfigured' });
  });
});

describeLeaving(
  'openai',
  () => fake,
  () => provider,
);
