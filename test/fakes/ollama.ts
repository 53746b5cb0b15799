import type { IncomingMessage } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

import { run, toPieces, type Conversation, type Fault, type Reply } from './shared.js';
import { nextTurn, TOOL_WORDS } from './tools.js';

/** Ollama's `/api/chat`, `tags`, `show`, `ps` and `version`, as far as a client of it can tell. */

interface Body {
  model?: string;
  messages?: Message[];
  tools?: unknown[];
  think?: boolean;
  stream?: boolean;
  truncate?: boolean;
  keep_alive?: string | number;
  options?: { num_ctx?: number };
}

interface Message {
  role?: string;
  content?: string;
  tool_calls?: { id?: string; function: { name: string; arguments: unknown } }[];
  tool_name?: string;
  tool_call_id?: string;
}

interface OllamaConversation extends Conversation {
  body: Body;
  /** The header. */
  authorization: string;
  /** A line with this message. */
  message(message: object): string;
  /** The last line: with this message and, unless undefined, this reason. */
  done(message: object, reason: string | undefined): string;
}

interface Model {
  capabilities: readonly string[];
  contextLength: number;
}

/** Newest first. A model that is not here can do everything, until `POST /_fake/models` names those that are installed. */
let installed: Readonly<Record<string, Model>> = {
  'llama3.2:latest': { capabilities: ['completion', 'tools', 'thinking'], contextLength: 131_072 },
  'qwen3:0.6b': { capabilities: ['completion', 'tools', 'thinking'], contextLength: 40_960 },
  'nomic-embed-text:latest': { capabilities: ['embedding'], contextLength: 2_048 },
  'stories:latest': { capabilities: ['completion'], contextLength: 512 },
};
const CHARACTERS_PER_TOKEN = 4;
let isStrict = false;
const ABLE: Model = {
  capabilities: ['completion', 'tools', 'thinking'],
  contextLength: 131_072,
};
/** The loading time of a model before its first answer. */
const LOAD_MS = Number(process.env['FAKE_LOAD_MS'] ?? 0);
/** Resolves when models may be loaded; `POST /_fake/load` says when. */
let mayLoad = Promise.resolve();
let allowLoad = (): void => {};
const loaded = new Map<string, Promise<void>>();
const ready = new Set<string>();

function withTag(name = ''): string {
  return name.includes(':') ? name : `${name}:latest`;
}

/** Loads the model, which `/api/ps` lists as soon as it is there. */
function load(name: string | undefined): Promise<void> {
  const model = withTag(name);
  const loading =
    loaded.get(model) ??
    wait(LOAD_MS)
      .then(() => mayLoad)
      .then(() => void ready.add(model));
  loaded.set(model, loading);
  return loading;
}

function refuseModel({ body }: OllamaConversation): Reply | undefined {
  const { model = '', messages = [], tools, think, truncate, options = {} } = body;
  const known = installed[withTag(model)];
  if (known === undefined) return isStrict ? missing(model) : undefined;
  const has = (capability: string): boolean => known.capabilities.includes(capability);
  const refusal = (error: string): Reply => ({ status: 400, body: { error } });
  if (!has('completion')) return refusal(`"${model}" does not support chat`);
  if (think === true && !has('thinking')) return refusal(`"${model}" does not support thinking`);
  if (tools !== undefined && !has('tools')) {
    return refusal(`registry.ollama.ai/library/${withTag(model)} does not support tools`);
  }
  const tokens = JSON.stringify(messages).length / CHARACTERS_PER_TOKEN;
  const contextLength = Math.min(known.contextLength, options.num_ctx ?? Infinity);
  const isCutSilently = truncate !== false || process.env['FAKE_MISBEHAVIOUR'] === 'cut-prompts';
  if (isCutSilently || tokens <= contextLength) return undefined;
  return refusal('the input length exceeds the context length');
}

function missing(model: string | undefined): Reply {
  return { status: 404, body: { error: `model '${model}' not found` } };
}

function toLine(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

function converse(request: IncomingMessage, body: unknown): OllamaConversation | undefined {
  if (request.method !== 'POST' || request.url !== '/api/chat') return undefined;
  const asked = body as Body;
  let lines = 0;

  const line = (message: object, rest: object): string => {
    lines++;
    return toLine({
      model: asked.model,
      created_at: new Date().toISOString(),
      message: { role: 'assistant', content: '', ...message },
      ...rest,
    });
  };
  const message = (fields: object): string => line(fields, { done: false });
  const done = (fields: object, reason: string | undefined): string =>
    line(fields, {
      done: true,
      ...(reason !== undefined && { done_reason: reason }),
      total_duration: 4_883_583_458,
      load_duration: 1_334_875,
      prompt_eval_count: 26,
      prompt_eval_duration: 342_546_000,
      eval_count: lines,
      eval_duration: 4_535_599_000,
    });
  return {
    question: asked.messages?.length === 0 ? 'load' : questionOf(asked),
    continued: continuedBy(asked),
    body: asked,
    authorization: request.headers.authorization ?? '',
    contentType: 'application/x-ndjson',
    message,
    done,
    text: (piece) => message({ content: piece }),
    finish: (reason = 'stop') => done({}, reason),
    ...(asked.stream === false && { toWhole }),
  };
}

function toWhole(frames: string): object {
  const lines = frames
    .trim()
    .split('\n')
    .map((frame) => JSON.parse(frame) as { message: { content: string } });
  const content = lines.map(({ message }) => message.content).join('');
  return { ...lines.at(-1), message: { role: 'assistant', content } };
}

function questionOf({ messages = [] }: Body): string {
  return messages.findLast(({ role }) => role === 'user')?.content ?? '';
}

/** A last message of the assistant is left open by the model's template. */
function continuedBy({ messages = [] }: Body): string {
  const last = messages.at(-1);
  return last?.role === 'assistant' ? (last.content ?? '') : '';
}

/** The purpose of a request without messages. */
const loadOnly: Fault<OllamaConversation> = (exchange) => {
  const { body, message } = exchange.talk;
  const isUnload = body.keep_alive === 0;
  if (isUnload) {
    ready.delete(withTag(body.model));
    loaded.delete(withTag(body.model));
  }
  const line = JSON.parse(message({})) as object;
  exchange.json({ ...line, done: true, done_reason: isUnload ? 'unload' : 'load' });
};

function refuse(status: number, error: string): Fault<OllamaConversation> {
  return (exchange) => exchange.refuse(status, { error });
}

/** Sends lines that only this wire has, then a clean end. */
function send(toLines: (talk: OllamaConversation) => string[]): Fault<OllamaConversation> {
  return async (exchange) => {
    exchange.open();
    for (const line of toLines(exchange.talk)) await exchange.send(line);
    exchange.end();
  };
}

/** Calls tools, then answers with what they gave; refuses what Ollama would not read. */
const useTools: Fault<OllamaConversation> = async (exchange) => {
  const { messages = [], tools } = exchange.talk.body;
  const { question, message } = exchange.talk;
  const wrong = complaint(messages);
  if (wrong !== undefined) return exchange.refuse(400, { error: wrong });
  const since = messages.slice(messages.findLastIndex(({ role }) => role === 'user'));
  const turns = since.filter(({ role }) => role === 'assistant').length;
  const turn = nextTurn(question, turns, tools !== undefined);
  if (turn === 'answer') {
    const given = since.flatMap(({ role, content }) => (role === 'tool' ? [content] : []));
    await exchange.say(toPieces(`The tools gave ${JSON.stringify(given)}.`));
    return exchange.finish();
  }

  const hasIds = question.startsWith('tool-two-turns');
  const calls = turn.calls.map(({ name, arguments: args }, index) => ({
    ...(hasIds && { id: `call_${turns}${index}` }),
    function: { index, name, arguments: args },
  }));
  const lines = question.startsWith('tool-two-frames') ? calls.map((call) => [call]) : [calls];
  exchange.open();
  await exchange.send(message({ thinking: 'Which tool? ' }));
  if (turns === 0) await exchange.send(exchange.talk.text('Let me look.'));
  for (const line of lines) await exchange.send(message({ tool_calls: line }));
  await exchange.finish();
};

/** The reason for Ollama to respond 400; undefined if the request is valid. */
function complaint(messages: readonly Message[]): string | undefined {
  for (const [i, { tool_calls: calls = [] }] of messages.entries()) {
    if (calls.some((call) => typeof call.function.arguments !== 'object')) {
      return 'json: cannot unmarshal string into Go struct field .arguments of type map[string]interface {}';
    }
    const replies = messages.slice(i + 1, i + 1 + calls.length);
    const isReplied = calls.every(({ id, function: { name } }, at) => {
      const reply = replies[at];
      if (reply?.role !== 'tool' || reply.tool_call_id !== id) return false;
      return reply.tool_name === name || (reply.tool_name === undefined && id !== undefined);
    });
    if (!isReplied) return 'a call has no reply';
  }
  return undefined;
}

const faults: Readonly<Record<string, Fault<OllamaConversation>>> = {
  ...Object.fromEntries(TOOL_WORDS.map((word) => [word, useTools])),
  load: loadOnly,
  'no-tools': async (exchange) => {
    const { model, tools } = exchange.talk.body;
    if (tools !== undefined) {
      const error = `registry.ollama.ai/library/${model} does not support tools`;
      return exchange.refuse(400, { error });
    }
    await exchange.say(['I have ', 'no tools.']);
    await exchange.finish();
  },
  400: refuse(400, 'invalid options: temperature'),
  401: refuse(401, 'unauthorized'),
  403: refuse(403, 'forbidden'),
  404: (exchange) =>
    exchange.refuse(404, { error: `model '${exchange.talk.body.model}' not found` }),
  '404-path': (exchange) => exchange.plain(404, '404 page not found'),
  'no-chat': (exchange) =>
    exchange.refuse(400, { error: `"${exchange.talk.body.model}" does not support chat` }),
  '500-option': refuse(500, 'option "num_ctx" must be of type integer'),
  '500-format': refuse(
    500,
    'invalid format: "nonsense"; expected "json" or a valid JSON Schema object',
  ),
  429: refuse(429, 'too many requests'),
  500: refuse(500, 'model requires more system memory (5.6 GiB) than is available (2.1 GiB)'),
  503: refuse(503, 'server busy, please try again.  maximum pending requests exceeded'),
  'html-503': (exchange) => exchange.page(503),
  'long-words': refuse(400, 'too long '.repeat(500)),
  'markup-words': refuse(500, '<b>something</b> {"went": "wrong"}'),
  leak: (exchange) => exchange.refuse(400, { error: `bad prompt: ${exchange.talk.question}` }),
  'error-frame': async (exchange) => {
    await exchange.begin();
    await exchange.send(toLine({ error: 'an error was encountered while running the model' }));
    exchange.end();
  },
  'error-first': send(() => [toLine({ error: 'llama runner process has terminated' })]),
  'echo-authorization': send((talk) => [talk.text(talk.authorization), talk.finish()]),
  'junk-frame': async (exchange) => {
    await exchange.begin();
    await exchange.send('17\n');
    exchange.end();
  },
  'cut-line': async (exchange) => {
    await exchange.begin();
    await exchange.send(exchange.talk.text(exchange.talk.question).slice(0, -3));
    exchange.end();
  },
  'junk-line': async (exchange) => {
    await exchange.begin();
    await exchange.send(`not JSON, but ${exchange.talk.question}\n`);
    await exchange.finish();
  },
  'no-reason': async (exchange) => {
    await exchange.begin();
    await exchange.send(exchange.talk.done({}, undefined));
    exchange.end();
  },
  'done-with-text': send((talk) => [talk.text('All '), talk.done({ content: 'said.' }, 'stop')]),
  'empty-parts': send((talk) => [talk.text(''), talk.text('Still here.'), talk.finish()]),
  thoughts: send((talk) => [
    talk.message({ thinking: 'Let me think. ' }),
    talk.message({ thinking: 'Yes.', content: 'It is so.' }),
    talk.finish(),
  ]),
  'think-tags': send((talk) => [
    talk.text('\n<think>Let me think. '),
    talk.text('Yes.</think>\n\n'),
    talk.text('It is so.'),
    talk.finish(),
  ]),
  'several-parts': send((talk) => [
    talk.text('one ') + talk.text('two ') + talk.text('three'),
    talk.finish(),
  ]),
  'unknown-part': send((talk) => [
    talk.message({ hologram: { depth: 3 }, content: 'Known.' }),
    talk.finish(),
  ]),
  'no-counts': send((talk) => [
    talk.text('Known.'),
    toLine({ ...JSON.parse(talk.message({})), done: true, done_reason: 'stop' }),
  ]),
  echo: send((talk) => [talk.text(JSON.stringify(talk.body)), talk.finish()]),
};

const DETAILS = {
  parent_model: '',
  format: 'gguf',
  family: 'llama',
  families: ['llama'],
  parameter_size: '3.2B',
  quantization_level: 'Q4_K_M',
};

function listed(name: string): object {
  return {
    name,
    model: name,
    size: 2_019_393_189,
    digest: 'a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72',
    details: DETAILS,
  };
}

const pages = {
  '/api/version': () => ({ version: '0.24.0' }),
  '/api/tags': () => ({
    models: Object.keys(installed).map((name) => ({
      ...listed(name),
      modified_at: '2026-01-01T00:00:00Z',
    })),
  }),
  '/api/ps': () => ({
    models: [...ready].map((name) => ({
      ...listed(name),
      expires_at: '2030-01-01T00:00:00Z',
      size_vram: 0,
      context_length: installed[name]?.contextLength ?? 4_096,
    })),
  }),
};

function show(body: unknown): Reply {
  const { model } = body as Body;
  const known = installed[withTag(model)] ?? (isStrict ? undefined : ABLE);
  if (known === undefined) return missing(model);
  return {
    status: 200,
    body: {
      parameters: `num_ctx                        ${known.contextLength}`,
      template: '{{ .Prompt }}',
      details: DETAILS,
      model_info: {
        'general.architecture': 'llama',
        'llama.context_length': known.contextLength,
      },
      capabilities: known.capabilities,
      modified_at: '2026-01-01T00:00:00Z',
    },
  };
}

/** Replaces the models that are installed. A model that is installed again has to be loaded again. */
function install(body: unknown): Reply {
  installed = body as Readonly<Record<string, Model>>;
  isStrict = true;
  loaded.clear();
  ready.clear();
  return { status: 200, body: {} };
}

/** Keeps models from being loaded, until it says that they may be. */
function holdLoads(body: unknown): Reply {
  allowLoad();
  mayLoad = (body as { hold: boolean }).hold
    ? new Promise((resolve) => (allowLoad = resolve))
    : Promise.resolve();
  return { status: 200, body: {} };
}

run({
  name: 'ollama',
  converse,
  pages,
  posts: { '/api/show': show, '/_fake/models': install, '/_fake/load': holdLoads },
  refuse: refuseModel,
  load: ({ body }) => load(body.model),
  faults,
});
