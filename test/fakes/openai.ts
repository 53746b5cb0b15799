import type { IncomingMessage } from 'node:http';

import { run, toPieces, type Conversation, type Fault, type Reply } from './shared.js';
import { nextTurn, TOOL_WORDS } from './tools.js';

/**
 * `/v1/chat/completions` and `/v1/models`, as far as a client of them can tell. The model's name chooses
 * whose manners it has: `llamacpp-…` (the server of llama-cpp-python), `litellm-…`, or else Ollama's.
 */

interface Body {
  model?: string;
  messages?: Message[];
  tools?: unknown[];
  tool_choice?: string;
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
  max_tokens?: number;
  temperature?: number;
}

interface Message {
  role?: string;
  content?: string | null;
  tool_calls?: { id?: string; extra_content?: object; function: { arguments: unknown } }[];
  tool_call_id?: string;
}

interface FakeToolCall {
  index: number;
  id: string;
  type: 'function';
  function: { name: string; arguments: string };
}

interface OpenAiConversation extends Conversation {
  body: Body;
  headers: IncomingMessage['headers'];
  /** A frame with this delta and, unless undefined, this finish reason. */
  delta(delta: object, reason?: string): string;
  thought(text: string): string;
  /** Whole calls, or their pieces where the server sends such. */
  calls(calls: readonly FakeToolCall[]): string[];
  /** The frames after the finish reason. */
  rest(): string;
}

type Manners = 'ollama' | 'llamacpp' | 'litellm';

const CONTEXT_CHARACTERS = 2_048;
const DONE = 'data: [DONE]\n\n';

function toFrame(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

function mannersOf(model = ''): Manners {
  const [name] = model.split('-');
  return name === 'llamacpp' || name === 'litellm' ? name : 'ollama';
}

function converse(request: IncomingMessage, body: unknown): OpenAiConversation | undefined {
  if (request.method !== 'POST' || request.url !== '/v1/chat/completions') return undefined;
  const asked = body as Body;
  const manners = mannersOf(asked.model);
  let frames = 0;

  const frame = (choices: object[], rest: object = {}): string => {
    frames++;
    return toFrame({
      id: manners === 'litellm' ? `${frames}-of-litellm` : 'chatcmpl-fake',
      object: 'chat.completion.chunk',
      created: 1_795_647_409,
      model: asked.model,
      ...(manners === 'ollama' && { system_fingerprint: 'fp_ollama' }),
      choices,
      ...rest,
    });
  };
  const delta = (fields: object, reason?: string): string => {
    const isFirst = frames === 0;
    const begin =
      isFirst && manners === 'llamacpp'
        ? frame([{ index: 0, delta: { role: 'assistant' }, logprobs: null, finish_reason: null }])
        : '';
    const hasRole = manners === 'ollama' || (manners === 'litellm' && isFirst);
    const choice = {
      index: 0,
      delta: { ...(hasRole && { role: 'assistant' }), ...fields },
      ...(manners === 'llamacpp' && { logprobs: null }),
      ...(manners === 'litellm'
        ? reason !== undefined && { finish_reason: reason }
        : { finish_reason: reason ?? null }),
    };
    return begin + frame([choice]);
  };
  const rest = (): string => {
    const isCounted = asked.stream_options?.include_usage === true && manners !== 'llamacpp';
    if (!isCounted) return DONE;
    const count = frames - 1;
    const usage = {
      prompt_tokens: 26,
      completion_tokens: count,
      total_tokens: count + 26,
      ...(manners === 'litellm' && {
        completion_tokens_details: { reasoning_tokens: 0, text_tokens: count },
      }),
    };
    const choices = manners === 'litellm' ? [{ index: 0, delta: {} }] : [];
    return frame(choices, { usage }) + DONE;
  };
  return {
    question: questionOf(asked),
    // OpenAI begins a new answer after a turn of the model.
    continued: '',
    body: asked,
    headers: request.headers,
    contentType: 'text/event-stream',
    delta,
    rest,
    text: (piece) => delta({ content: piece }),
    thought: (text) =>
      manners === 'ollama'
        ? delta({ content: '', reasoning: text })
        : delta({ reasoning_content: text }),
    calls(calls) {
      if (manners !== 'llamacpp') {
        return [delta({ ...(manners === 'ollama' && { content: '' }), tool_calls: calls })];
      }
      return calls.flatMap((call) =>
        call.function.arguments.split(/(?<=[:{"])/).map((piece) => {
          const part = { name: call.function.name, arguments: piece };
          return delta({
            role: null,
            content: null,
            function_call: part,
            tool_calls: [{ ...call, function: part }],
          });
        }),
      );
    },
    finish: (reason = 'stop') =>
      delta(manners === 'ollama' ? { content: '' } : {}, reason) + rest(),
    ...(asked.stream !== true && { toWhole }),
  };
}

function toWhole(frames: string): object {
  const all = [...frames.matchAll(/^data: (\{.*)$/gm)].map(
    ([, json]) => JSON.parse(json!) as { choices: { delta?: { content?: string } }[] },
  );
  const content = all.map(({ choices: [choice] }) => choice?.delta?.content ?? '').join('');
  return {
    ...all.at(-1),
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  };
}

function questionOf({ messages = [] }: Body): string {
  return messages.findLast(({ role }) => role === 'user')?.content ?? '';
}

interface ErrorFields {
  type?: string | null;
  param?: string | null;
  code?: string | number | null;
}

function toError(message: string, fields: ErrorFields = {}): object {
  return { error: { message, type: 'invalid_request_error', param: null, code: null, ...fields } };
}

function refuse(
  status: number,
  message: string,
  fields: ErrorFields = {},
  headers: Readonly<Record<string, string>> = {},
): Fault<OpenAiConversation> {
  return (exchange) => exchange.refuse(status, toError(message, fields), headers);
}

/** Answers only a request without these fields. */
function refuseFields(
  fields: readonly string[],
  message: (field: string) => string,
): Fault<OpenAiConversation> {
  return async (exchange) => {
    const field = fields.find((name) => name in exchange.talk.body);
    if (field !== undefined) {
      return exchange.refuse(400, toError(message(field), { param: field }));
    }
    await exchange.say([JSON.stringify(exchange.talk.body)]);
    await exchange.finish();
  };
}

/** Sends frames that only this wire has, then a clean end. */
function send(toFrames: (talk: OpenAiConversation) => string[]): Fault<OpenAiConversation> {
  return async (exchange) => {
    exchange.open();
    for (const frame of toFrames(exchange.talk)) await exchange.send(frame);
    exchange.end();
  };
}

/** Calls tools, then answers with what they gave; refuses what OpenAI would. */
const useTools: Fault<OpenAiConversation> = async (exchange) => {
  const { messages = [], tools, tool_choice: choice } = exchange.talk.body;
  const { question, calls } = exchange.talk;
  const wrong = complaint(messages);
  if (wrong !== undefined) return exchange.refuse(400, toError(wrong));
  const since = messages.slice(messages.findLastIndex(({ role }) => role === 'user'));
  const turns = since.filter(({ role }) => role === 'assistant').length;
  const turn = nextTurn(question, turns, tools !== undefined && choice !== 'none');
  if (turn === 'answer') {
    const given = since.flatMap(({ role, content }) => (role === 'tool' ? [content] : []));
    await exchange.say(toPieces(`The tools gave ${JSON.stringify(given)}.`));
    return exchange.finish();
  }

  const made = turn.calls.map(({ name, arguments: args }, index): FakeToolCall => ({
    index,
    id: `call_${turns}${index}`,
    type: 'function',
    function: { name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
  }));
  const frames = question.startsWith('tool-two-frames') ? made.map((call) => [call]) : [made];
  exchange.open();
  await exchange.send(exchange.talk.thought('Which tool? '));
  if (turns === 0) await exchange.send(exchange.talk.text('Let me look.'));
  for (const frame of frames.flatMap(calls)) await exchange.send(frame);
  await exchange.finish('tool_calls');
};

/** The reason for OpenAI to respond 400; undefined if the request is valid. */
function complaint(messages: readonly Message[]): string | undefined {
  for (const [i, { tool_calls: calls = [] }] of messages.entries()) {
    for (const { function: called } of calls) {
      if (typeof called.arguments !== 'string') return 'arguments is not a string';
      JSON.parse(called.arguments);
    }
    const replies = messages.slice(i + 1, i + 1 + calls.length);
    const isReplied = calls.every(({ id }, at) => {
      const reply = replies[at];
      return reply?.role === 'tool' && reply.tool_call_id === id && id !== undefined;
    });
    if (!isReplied) return "tool_call_ids did not have response messages: 'call_'";
  }
  return undefined;
}

const DEAD_UPSTREAM =
  "litellm.BadRequestError: Ollama_chatException - KeyError: 'message', Got unexpected response from Ollama: {'error': 'an error was encountered while running the model: unexpected EOF'}";

const faults: Readonly<Record<string, Fault<OpenAiConversation>>> = {
  ...Object.fromEntries(TOOL_WORDS.map((word) => [word, useTools])),
  'no-tools': async (exchange) => {
    const { model, tools } = exchange.talk.body;
    if (tools !== undefined) {
      const words = `registry.ollama.ai/library/${model} does not support tools`;
      return exchange.refuse(400, toError(words));
    }
    await exchange.say(['I have ', 'no tools.']);
    await exchange.finish();
  },
  'no-tool-parser': async (exchange) => {
    if (exchange.talk.body.tools !== undefined) {
      const words =
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set';
      return exchange.refuse(400, { object: 'error', message: words, code: 400 });
    }
    await exchange.say(['I have ', 'no parser.']);
    await exchange.finish();
  },
  'no-tool-endpoint': async (exchange) => {
    if (exchange.talk.body.tools !== undefined) {
      return exchange.refuse(404, {
        error: { message: 'No endpoints found that support tool use.', code: 404 },
      });
    }
    await exchange.say(['I have ', 'no endpoint.']);
    await exchange.finish();
  },
  // A reasoning model of OpenAI.
  'no-parameters': refuseFields(
    ['max_tokens', 'temperature', 'top_p'],
    (field) => `Unsupported parameter: '${field}' is not supported with this model.`,
  ),
  'no-top-k': refuseFields(
    ['top_k'],
    (field) => `Unrecognized request argument supplied: ${field}`,
  ),
  // A server that validates with pydantic.
  'no-usage': async (exchange) => {
    if (exchange.talk.body.stream_options !== undefined) {
      const detail = [
        {
          type: 'extra_forbidden',
          loc: ['body', 'stream_options'],
          msg: 'Extra inputs are not permitted',
        },
      ];
      return exchange.refuse(422, { detail });
    }
    await exchange.say(['Not ', 'counted.']);
    await exchange.finish();
  },
  400: refuse(400, "Invalid 'temperature': decimal above maximum value.", { param: 'temperature' }),
  '400-model': refuse(
    400,
    '/chat/completions: Invalid model name passed in model=never-heard. Call `/v1/models` to view available models for your key.',
    { code: '400' },
  ),
  '400-filter': refuse(400, 'The response was filtered.', { code: 'content_filter' }),
  '403-moderation': (exchange) =>
    exchange.refuse(403, {
      error: {
        message: 'Your chosen model requires moderation and your input was flagged',
        code: 403,
        metadata: { reasons: ['violence'], flagged_input: exchange.talk.question },
      },
    }),
  401: refuse(401, 'Incorrect API key provided: sk-key*******here.', { code: 'invalid_api_key' }),
  402: refuse(402, 'Insufficient credits', { code: 402 }),
  403: refuse(403, 'You do not have access to this project.'),
  404: refuse(404, "model 'nope' not found", { type: 'not_found_error' }),
  '404-openai': refuse(404, 'The model `nope` does not exist or you do not have access to it.', {
    code: 'model_not_found',
  }),
  '404-path': (exchange) => exchange.refuse(404, { detail: 'Not Found' }),
  413: refuse(413, 'Request too large for model `m` on tokens per minute (TPM): Limit 6000', {
    type: 'tokens',
    code: 'rate_limit_exceeded',
  }),
  429: refuse(
    429,
    'Rate limit reached for requests',
    { code: 'rate_limit_exceeded' },
    {
      'retry-after': '37',
    },
  ),
  '429-ms': refuse(429, 'Rate limit reached', {}, { 'retry-after-ms': '1500', 'retry-after': '2' }),
  '429-date': (exchange) =>
    exchange.refuse(429, toError('Rate limit reached'), {
      'retry-after': new Date(Date.now() + 60_000).toUTCString(),
    }),
  '429-quota': refuse(429, 'You exceeded your current quota, please check your plan and billing.', {
    code: 'insufficient_quota',
  }),
  '400-tool-use': refuse(400, "Failed to call a function. See 'failed_generation' for details.", {
    code: 'tool_use_failed',
  }),
  500: refuse(500, 'litellm.InternalServerError: Connection error.', {
    type: 'internal_server_error',
    code: '500',
  }),
  503: refuse(503, 'Loading model', { type: 'unavailable_error', code: 503 }),
  'text-error': (exchange) => exchange.refuse(500, { error: 'out of memory' }),
  'long-words': refuse(400, 'Too long. '.repeat(500)),
  'markup-words': refuse(500, '<b>Something</b> {"went": "wrong"}'),
  leak: (exchange) => {
    const { headers, question } = exchange.talk;
    const about = question.endsWith('key') ? String(headers.authorization) : question;
    exchange.refuse(403, toError(`Invalid value: ${about}`));
  },
  'error-frame': async (exchange) => {
    await exchange.begin();
    await exchange.send(toFrame(toError(DEAD_UPSTREAM, { type: null, code: '400' })));
    exchange.end();
  },
  'error-first': send(() => [toFrame(toError('Provider disconnected', { code: 502 })), DONE]),
  'error-frame-text': send((talk) => [
    talk.text('Once '),
    `event: error\n${toFrame({ error: 'The model has crashed' })}`,
  ]),
  'error-frame-busy': send(() => [toFrame(toError('Rate limit exceeded', { code: 429 }))]),
  'error-frame-context': send(() => [
    toFrame(toError("This model's maximum context length is 512 tokens.", { code: 400 })),
    DONE,
  ]),
  'junk-frame': async (exchange) => {
    await exchange.begin();
    await exchange.send(`data: {"choices": [${exchange.talk.question}\n\n`);
    exchange.end();
  },
  'done-without-reason': send((talk) => [talk.text('Once '), DONE]),
  'reason-without-done': send((talk) => [talk.text('All.'), talk.delta({}, 'stop')]),
  'text-with-reason': send((talk) => [
    talk.text('All '),
    talk.delta({ content: 'said.' }, 'stop') + DONE,
  ]),
  comments: send((talk) => [
    ': OPENROUTER PROCESSING\n\n',
    talk.text('Still '),
    ': OPENROUTER PROCESSING\n\n',
    talk.text('here.'),
    talk.finish(),
  ]),
  'empty-parts': send((talk) => [
    talk.delta({ content: null }),
    talk.text(''),
    talk.delta({ content: null, tool_calls: null, reasoning: null, function_call: null }),
    talk.text('Still here.'),
    talk.finish(),
  ]),
  thoughts: send((talk) => [
    talk.thought('Let me think. '),
    talk.thought('Yes.'),
    talk.text('It is so.'),
    talk.finish(),
  ]),
  'thoughts-twice': send((talk) => [
    talk.delta({ reasoning: 'Yes.', reasoning_content: 'Yes.' }),
    talk.text('It is so.'),
    talk.finish(),
  ]),
  'think-tags': send((talk) => [
    talk.text('<thi'),
    talk.text('nk>Yes.</think>\n\nIt '),
    talk.text('is so.'),
    talk.finish(),
  ]),
  refusal: send((talk) => [talk.delta({ refusal: 'I will not.' }), talk.finish()]),
  'several-parts': send((talk) => [
    talk.text('one ') + talk.text('two ') + talk.text('three'),
    talk.finish(),
  ]),
  'unknown-part': send((talk) => [
    talk.delta({ hologram: { depth: 3 }, content: 'Known.' }),
    'event: hologram\nid: 7\ndata: {"depth": 3}\n\n',
    talk.finish(),
  ]),
  'groq-usage': send((talk) => [
    talk.text('Done.'),
    toFrame({
      choices: [{ index: 0, delta: {}, finish_reason: 'stop' }],
      x_groq: { usage: { prompt_tokens: 7, completion_tokens: 42 } },
    }),
    DONE,
  ]),
  'same-index': send((talk) => [
    talk.delta({
      tool_calls: [{ index: 0, id: 'a', function: { name: 't', arguments: '{"a":1}' } }],
    }),
    talk.delta({
      tool_calls: [{ index: 0, id: 'b', function: { name: 't', arguments: '{"a":2}' } }],
    }),
    talk.finish('tool_calls'),
  ]),
  'no-index': send((talk) => [
    talk.delta({
      tool_calls: [
        { id: 'a', function: { name: 't', arguments: '{"a":1}' } },
        { id: 'b', function: { name: 't' } },
      ],
    }),
    talk.finish('tool_calls'),
  ]),
  'object-arguments': send((talk) => [
    talk.delta({ tool_calls: [{ index: 0, function: { name: 't', arguments: { a: 1 } } }] }),
    talk.finish('stop'),
  ]),
  'cut-arguments': send((talk) => [
    talk.delta({
      tool_calls: [{ index: 0, id: 'a', function: { name: 't', arguments: '{"a":' } }],
    }),
    talk.finish('length'),
  ]),
  'signed-call': send((talk) => [
    talk.thought('Which? '),
    talk.delta({
      tool_calls: [
        {
          index: 0,
          id: 'a',
          extra_content: { google: { thought_signature: 'c2ln' } },
          function: { name: 't', arguments: '{}' },
        },
      ],
    }),
    talk.finish('tool_calls'),
  ]),
  'slow-arguments': async (exchange) => {
    const { delta } = exchange.talk;
    const piece = (text: string) =>
      delta({ tool_calls: [{ index: 0, id: 'a', function: { name: 't', arguments: text } }] });
    exchange.open();
    for (const text of ['{"a"', ':', '1}']) await exchange.send(piece(text));
    await exchange.stall();
  },
  echo: send((talk) => [talk.text(JSON.stringify(talk.body)), talk.finish()]),
  'echo-headers': send((talk) => [talk.text(JSON.stringify(talk.headers)), talk.finish()]),
};

/** `no-such-model` is missing, and a model named `…-tiny` reads 512 tokens, of 4 characters each. */
function refusePrompt({ body }: OpenAiConversation): Reply | undefined {
  const { model = '', messages = [] } = body;
  if (model === 'no-such-model') {
    const words = `The model \`${model}\` does not exist.`;
    return { status: 404, body: toError(words, { code: 'model_not_found' }) };
  }
  const characters = JSON.stringify(messages).length;
  if (!model.endsWith('-tiny') || characters <= CONTEXT_CHARACTERS) return undefined;
  const words = `This model's maximum context length is 512 tokens. However, you requested ${Math.ceil(characters / 4)} tokens. Please reduce the length of the messages.`;
  return { status: 400, body: toError(words, { code: 'context_length_exceeded' }) };
}

/** `POST /_fake/models` says which models there are. */
let models: readonly string[] = ['stories'];

function setModels(body: unknown): Reply {
  models = body as readonly string[];
  return { status: 200, body: {} };
}

run({
  name: 'openai',
  converse,
  pages: {
    '/v1/models': () => ({
      object: 'list',
      data: models.map((id) => ({
        id,
        object: 'model',
        created: 1_795_646_235,
        owned_by: 'library',
      })),
    }),
  },
  posts: { '/_fake/models': setModels },
  refuse: refusePrompt,
  faults,
});
