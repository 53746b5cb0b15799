import type { IncomingMessage } from 'node:http';

import { complaint, type GeminiContent, type GeminiTools, sign } from './gemini-tools.js';
import { run, toPieces, type Conversation, type Fault, type Reply } from './shared.js';
import { nextTurn, TOOL_WORDS } from './tools.js';

/** Google's `streamGenerateContent` with `alt=sse`, as far as a client of it can tell. */

interface Body extends GeminiTools {
  toolConfig?: { functionCallingConfig?: { mode?: string } };
  systemInstruction?: unknown;
  generationConfig?: { thinkingConfig?: object; maxOutputTokens?: number };
}

interface GeminiConversation extends Conversation {
  apiKey: string;
  model: string;
  body: Body;
  /** A frame whose one candidate has these parts. */
  parts(parts: unknown[], candidate?: object): string;
}

const PATH =
  /^\/v1beta\/models\/([^/:]+):(?:streamGenerateContent\?alt=sse|(?<whole>generateContent))$/;

function toFrame(value: unknown): string {
  return `data: ${JSON.stringify(value)}\r\n\r\n`;
}

function isQuestion({ role, parts = [] }: GeminiContent): boolean {
  return role === 'user' && parts.at(-1)?.functionResponse === undefined;
}

function converse(request: IncomingMessage, body: unknown): GeminiConversation | undefined {
  const path = PATH.exec(request.url ?? '');
  const model = path?.[1];
  if (request.method !== 'POST' || model === undefined) return undefined;
  const asked = body as Body;
  const question = asked.contents?.findLast(isQuestion)?.parts?.at(-1)?.text ?? '';
  const promptTokenCount = Math.ceil(JSON.stringify(body).length / 4);
  let candidatesTokenCount = 0;

  const frame = (candidate: object): string =>
    toFrame({
      candidates: [{ ...candidate, index: 0 }],
      usageMetadata: {
        promptTokenCount,
        candidatesTokenCount,
        totalTokenCount: promptTokenCount + candidatesTokenCount,
      },
      modelVersion: model,
      responseId: 'fake-response',
    });
  const parts = (list: unknown[], candidate: object = {}): string => {
    candidatesTokenCount += list.length;
    return frame({ content: { parts: list, role: 'model' }, ...candidate });
  };
  return {
    question,
    continued: continuedBy(asked),
    model,
    body: asked,
    apiKey: String(request.headers['x-goog-api-key'] ?? ''),
    contentType: 'text/event-stream',
    parts,
    text: (piece) => parts([{ text: piece }]),
    finish: (finishReason = 'STOP') => frame({ finishReason }),
    ...(path?.groups?.['whole'] !== undefined && { toWhole }),
  };
}

/** A last turn of the model is continued. */
function continuedBy({ contents = [] }: Body): string {
  const last = contents.at(-1);
  if (last?.role !== 'model') return '';
  return (last.parts ?? []).map(({ text = '' }) => text).join('');
}

function toWhole(frames: string): object {
  const all = frames
    .trim()
    .split('\r\n\r\n')
    .map((frame) => JSON.parse(frame.slice('data: '.length)) as { candidates: [GeminiCandidate] });
  const parts = all.flatMap(({ candidates: [{ content }] }) => content?.parts ?? []);
  const [last] = all.at(-1)?.candidates ?? [{}];
  return { ...all.at(-1), candidates: [{ ...last, content: { parts, role: 'model' } }] };
}

interface GeminiCandidate {
  content?: { parts: unknown[] };
}

function toError(code: number, status: string, message: string, details?: unknown[]): object {
  return { error: { code, message, status, ...(details && { details }) } };
}

function refuse(
  code: number,
  status: string,
  message: string,
  details?: unknown[],
): Fault<GeminiConversation> {
  return (exchange) => exchange.refuse(code, toError(code, status, message, details));
}

/** Sends frames that only this wire has, then a clean end. */
function send(toFrames: (talk: GeminiConversation) => string[]): Fault<GeminiConversation> {
  return async (exchange) => {
    exchange.open();
    for (const frame of toFrames(exchange.talk)) await exchange.send(frame);
    exchange.end();
  };
}

/** Calls tools, then answers with what they gave; refuses what Gemini would. */
const useTools: Fault<GeminiConversation> = async (exchange) => {
  const { body, question, parts } = exchange.talk;
  const wrong = complaint(body);
  if (wrong !== undefined) {
    return exchange.refuse(400, toError(400, 'INVALID_ARGUMENT', wrong));
  }
  const { contents = [], toolConfig } = body;
  const since = contents.slice(contents.findLastIndex(isQuestion));
  const given = since
    .flatMap((content) => content.parts ?? [])
    .flatMap(({ functionResponse }) => functionResponse?.response ?? []);
  const mayCall = toolConfig?.functionCallingConfig?.mode !== 'NONE' && body.tools !== undefined;
  const turns = since.filter(({ role }) => role === 'model').length;
  const turn = nextTurn(question, turns, mayCall);
  if (turn === 'answer') {
    await exchange.say(toPieces(`The tools gave ${JSON.stringify(given)}.`));
    return exchange.finish();
  }

  const hasIds = question.startsWith('tool-two-turns');
  const calls = turn.calls.map(({ name, arguments: args }, i) => ({
    functionCall: { ...(hasIds && { id: `fc-${turns}-${i}` }), name, args },
    // Of calls at the same time only the first is signed.
    ...(i === 0 && { thoughtSignature: sign({ name, args }) }),
  }));
  const frames = question.startsWith('tool-two-frames') ? calls.map((call) => [call]) : [calls];
  exchange.open();
  await exchange.send(parts([{ text: 'Which tool? ', thought: true }]));
  if (turns === 0) await exchange.send(exchange.talk.text('Let me look.'));
  for (const frame of frames) await exchange.send(parts(frame));
  await exchange.finish();
};

/** Refuses to give thoughts, as a model that does not think. */
function withoutThinking(words: string): Fault<GeminiConversation> {
  return async (exchange) => {
    if (exchange.talk.body.generationConfig?.thinkingConfig !== undefined) {
      return exchange.refuse(400, toError(400, 'INVALID_ARGUMENT', words));
    }
    await exchange.say(['I do ', 'not think.']);
    await exchange.finish();
  };
}

const overloaded = toError(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.');
const google = 'type.googleapis.com/google.rpc';

const faults: Readonly<Record<string, Fault<GeminiConversation>>> = {
  ...Object.fromEntries(TOOL_WORDS.map((word) => [word, useTools])),
  400: refuse(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.'),
  '400-key': refuse(400, 'INVALID_ARGUMENT', 'API key not valid. Please pass a valid API key.', [
    { '@type': `${google}.ErrorInfo`, reason: 'API_KEY_INVALID', domain: 'googleapis.com' },
  ]),
  '400-location': refuse(
    400,
    'FAILED_PRECONDITION',
    'User location is not supported for the API use.',
  ),
  401: refuse(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.'),
  403: refuse(
    403,
    'PERMISSION_DENIED',
    'Generative Language API has not been used in project 123456789012 before or it is disabled.',
  ),
  404: refuse(404, 'NOT_FOUND', 'models/unknown is not found for API version v1beta.'),
  429: refuse(429, 'RESOURCE_EXHAUSTED', 'You exceeded your current quota.', [
    { '@type': `${google}.QuotaFailure`, violations: [{ quotaId: 'PerMinute' }] },
    { '@type': `${google}.RetryInfo`, retryDelay: '37s' },
  ]),
  503: (exchange) => exchange.refuse(503, overloaded),
  'no-thinking': withoutThinking('Thinking is not enabled for models/gemini-2.0-flash'),
  'no-thinking-config': withoutThinking(
    'Unable to submit request because thinking_config.include_thoughts is only enabled when thinking is enabled.',
  ),
  'long-words': refuse(400, 'INVALID_ARGUMENT', 'Too long. '.repeat(500)),
  'markup-words': refuse(500, 'INTERNAL', '<b>Something</b> {"went": "wrong"}'),
  leak: (exchange) => {
    const { apiKey, question } = exchange.talk;
    const words = `Consumer 'api_key:${apiKey}' has been suspended.`;
    const about = question.endsWith('key') ? words : `Invalid value: "${question}"`;
    exchange.refuse(403, toError(403, 'PERMISSION_DENIED', about));
  },
  'error-frame': async (exchange) => {
    await exchange.begin();
    await exchange.send(toFrame(overloaded));
    exchange.end();
  },
  'error-frame-raw': async (exchange) => {
    await exchange.begin();
    await exchange.send(JSON.stringify(overloaded, null, 2));
    exchange.end();
  },
  'error-frame-busy': send(() => [
    toFrame(
      toError(429, 'RESOURCE_EXHAUSTED', 'Quota.', [
        { '@type': `${google}.RetryInfo`, retryDelay: '1.5s' },
      ]),
    ),
  ]),
  'junk-frame': async (exchange) => {
    await exchange.begin();
    await exchange.send(`data: {"candidates": [${exchange.talk.question}\r\n\r\n`);
    exchange.end();
  },
  blocked: send(() => [toFrame({ promptFeedback: { blockReason: 'SAFETY', safetyRatings: [] } })]),
  'empty-parts': send((talk) => [
    talk.parts([]),
    talk.parts([{ text: '' }]),
    toFrame({ candidates: [{ index: 0 }] }),
    toFrame({}),
    talk.text('Still here.'),
    talk.finish(),
  ]),
  thoughts: send((talk) => [
    talk.parts([{ text: 'Let me think. ', thought: true }]),
    talk.parts([{ text: 'Yes.', thought: true, thoughtSignature: 'c2ln' }, { text: 'It is so.' }]),
    toFrame({
      candidates: [{ finishReason: 'STOP', index: 0 }],
      usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 3, thoughtsTokenCount: 5 },
    }),
  ]),
  'several-parts': send((talk) => [
    talk.parts([{ text: 'one ' }, { text: 'two ' }, { text: 'three' }]),
    talk.finish(),
  ]),
  'unknown-part': send((talk) => [
    talk.parts([
      { executableCode: { language: 'PYTHON', code: 'print(1)' } },
      { codeExecutionResult: { outcome: 'OUTCOME_OK', output: '1' } },
      { hologram: { depth: 3 } },
      { text: 'Known.' },
    ]),
    talk.finish(),
  ]),
  'unknown-enum': send((talk) => [
    talk.parts([{ text: 'Known.' }], {
      safetyRatings: [{ category: 'HARM_CATEGORY_NEW', probability: 'SOMEWHAT' }],
    }),
    talk.finish('TIRED'),
  ]),
  'late-usage': send((talk) => [
    talk.parts([{ text: 'Done.' }], { finishReason: 'STOP' }),
    toFrame({ usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 42 } }),
  ]),
  echo: send((talk) => [talk.text(JSON.stringify(talk.body)), talk.finish()]),
};

/** `no-such-model` is missing, and a model named `…-tiny` reads 512 tokens, of 4 characters each. */
function refusePrompt({ body, model }: GeminiConversation): Reply | undefined {
  const { contents = [], systemInstruction } = body;
  if (model === 'no-such-model') {
    const missing = `models/${model} is not found for API version v1beta.`;
    return { status: 404, body: toError(404, 'NOT_FOUND', missing) };
  }
  const tokens = Math.ceil(JSON.stringify([contents, systemInstruction]).length / 4);
  if (!model.endsWith('-tiny') || tokens <= 512) return undefined;
  const words = `The input token count (${tokens}) exceeds the maximum number of tokens allowed (512).`;
  return { status: 400, body: toError(400, 'INVALID_ARGUMENT', words) };
}

run({ name: 'gemini', converse, pages: {}, refuse: refusePrompt, faults });
