import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import {
  type Delta,
  type Prompt,
  type PromptMessage,
  type Provider,
  ProviderError,
} from '@rivulet/server';
import type { LiveServer } from './servers.js';

/**
 * Returns the reason for which a check could not run, or undefined after a success. Throws if the check
 * failed.
 */
type Check = (server: LiveServer) => Promise<string | undefined>;

const NEVER = new AbortController().signal;
/** Enough for a model that thinks first. */
const MAX_TOKENS = 1_024;
const AT_ONCE = 10;
/** An answer that was stopped ends for its reader at once. */
const STOP_MS = 2_000;
/** A server that went on generating would answer the next question later than this. */
const NEXT_MS = 30_000;

const QUESTIONS = [
  'Why is the sky blue? Answer in two sentences.',
  'Schreibe einen Satz über Straßen, Flüsse und 日本, mit einem 🌊 am Ende.',
  'Write a function in Python that adds two numbers. Only the code.',
];

function ask(text: string, more: Partial<Prompt> = {}): Prompt {
  return {
    system: '',
    messages: [{ role: 'user', text }],
    temperature: 0,
    topP: undefined,
    topK: undefined,
    maxTokens: MAX_TOKENS,
    seed: 7,
    ...more,
  };
}

async function read(provider: Provider, prompt: Prompt): Promise<Delta[]> {
  const deltas: Delta[] = [];
  for await (const delta of provider.stream(prompt, NEVER)) deltas.push(delta);
  assert.equal(deltas.at(-1)?.type, 'finish', 'the answer has no end');
  return deltas;
}

function textOf(deltas: readonly Delta[]): string {
  return deltas.map((delta) => (delta.type === 'text' ? delta.text : '')).join('');
}

/** The text without thoughts that the model writes into it; Rivulet yields them as thoughts. */
function withoutThoughts(text: string): string {
  return text.replace(/^\s*<think>.*?<\/think>/s, '');
}

/** @returns undefined if the server itself does not give the same text twice. */
async function expected({ whole }: LiveServer, prompt: Prompt): Promise<string | undefined> {
  // The first one fills the cache of prompts, which may change how the numbers are rounded.
  await whole(prompt);
  const [second, third] = [await whole(prompt), await whole(prompt)];
  return second === third ? withoutThoughts(second) : undefined;
}

const NOT_REPEATABLE = 'the server does not repeat its own answer with a seed and temperature 0';

const exactText: Check = async (server) => {
  let compared = 0;
  for (const question of QUESTIONS) {
    const text = await expected(server, ask(question));
    const own = textOf(await read(server.provider, ask(question)));
    if (text === undefined) continue;
    assert.equal(own, text);
    compared++;
  }
  return compared > 0 ? undefined : NOT_REPEATABLE;
};

/** Cuts an answer in two, and compares what follows the first half with what the server itself adds to it. */
const continued: Check = async (server) => {
  if (server.provider.canContinue !== true) return 'it cannot continue a text';
  let compared = 0;
  for (const question of QUESTIONS) {
    const text = textOf(await read(server.provider, ask(question)));
    // A server may not take half a surrogate pair.
    const sofar = text.slice(0, text.length / 2).replace(/[\ud800-\udbff]$/, '');
    const messages: PromptMessage[] = [
      { role: 'user', text: question },
      { role: 'assistant', text: sofar },
    ];
    const prompt = ask('', { messages, continues: true });
    const wanted = await expected(server, prompt);
    const own = textOf(await read(server.provider, prompt));
    if (wanted === undefined) continue;
    assert.equal(own, wanted);
    compared++;
  }
  return compared > 0 ? undefined : NOT_REPEATABLE;
};

const tenAtOnce: Check = async (server) => {
  const prompts = Array.from({ length: AT_ONCE }, (_, i) =>
    ask(`Write the numbers from ${i} to ${i + 5} in words.`),
  );
  const texts: (string | undefined)[] = [];
  for (const prompt of prompts) texts.push(await expected(server, prompt));
  const own = await Promise.all(prompts.map((prompt) => read(server.provider, prompt)));
  const isExact = own.every((deltas, i) => texts[i] === undefined || textOf(deltas) === texts[i]);
  if (isExact) return texts.some((text) => text !== undefined) ? undefined : NOT_REPEATABLE;
  // Answers that a server computes together may be rounded otherwise than each alone.
  const together = await Promise.all(prompts.map((prompt) => server.whole(prompt)));
  const changed = together.some(
    (text, i) => texts[i] !== undefined && withoutThoughts(text) !== texts[i],
  );
  if (changed) return 'the server’s own answers change when it computes several together';
  for (const [i, text] of texts.entries()) {
    if (text !== undefined) assert.equal(textOf(own[i]!), text);
  }
  return undefined;
};

/** Reads until `isEnough`, stops, and looks whether that ends the answer and frees the server. */
async function stop(
  { provider }: LiveServer,
  prompt: Prompt,
  isEnough: (deltas: readonly Delta[]) => boolean,
): Promise<string | undefined> {
  const reader = new AbortController();
  const reason = new Error('the reader stopped');
  const deltas: Delta[] = [];
  let stoppedAt = 0;
  const stopNow = (): void => {
    if (reader.signal.aborted) return;
    stoppedAt = performance.now();
    reader.abort(reason);
  };
  if (isEnough([])) void wait(0).then(stopNow);
  try {
    for await (const delta of provider.stream(prompt, reader.signal)) {
      deltas.push(delta);
      if (isEnough(deltas)) stopNow();
    }
    return 'the answer had ended before it was stopped';
  } catch (error) {
    assert.equal(error, reason);
  }
  const ms = performance.now() - stoppedAt;
  assert.ok(ms < STOP_MS, `the answer ended ${Math.round(ms)} ms after it was stopped`);
  const next = performance.now();
  await read(provider, ask('Say yes.'));
  const nextMs = performance.now() - next;
  assert.ok(nextMs < NEXT_MS, `the next answer took ${Math.round(nextMs)} ms`);
  return undefined;
}

const LONG = 'Write a story of a thousand words about a river.';

const stopInMidAnswer: Check = (server) =>
  stop(server, ask(LONG), (deltas) => deltas.filter(({ type }) => type === 'text').length >= 3);

const stopBeforeHeaders: Check = (server) => stop(server, ask(LONG), () => true);

const missingModel: Check = async ({ missing }) => {
  const failed = await read(missing, ask('Say yes.')).then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(failed instanceof ProviderError, 'a model that does not exist answered');
  assert.equal(failed.failure, 'misconfigured');
  assert.match(failed.detail ?? '', /OLLAMA_MODEL|GEMINI_MODEL|OPENAI_MODEL/);
  return undefined;
};

const longPrompt: Check = async ({ small }) => {
  if ('leftOut' in small) return small.leftOut;
  const turns = Array.from({ length: 40 }, (_, i): PromptMessage[] => [
    { role: 'user', text: `Remember number ${i}: ${'a river runs to the sea, '.repeat(6)}` },
    { role: 'assistant', text: `I remember number ${i}.` },
  ]);
  const messages: PromptMessage[] = [...turns.flat(), { role: 'user', text: 'Say yes.' }];
  const deltas = await read(small, ask('', { messages, maxTokens: 64 }));
  const omitted = deltas.find((delta) => delta.type === 'omitted');
  assert.ok(omitted !== undefined, 'the prompt was cut without a word');
  assert.ok(omitted.messages > 0 && omitted.messages % 2 === 0, 'half an exchange was left out');
  assert.notEqual(textOf(deltas), '');
  return undefined;
};

const TIME = {
  name: 'current_time',
  description: 'Tells the current time in a time zone.',
  parameters: {
    type: 'object',
    properties: { time_zone: { type: 'string', description: 'Such as Europe/Berlin' } },
    required: ['time_zone'],
  },
};

const tools: Check = async ({ provider, withoutTools }) => {
  if (withoutTools !== undefined) return withoutTools;
  const question: PromptMessage = {
    role: 'user',
    text: 'Call the tool current_time with the time zone Europe/Berlin. Then say the time that it gave.',
  };
  const first = await read(provider, ask('', { messages: [question], tools: [TIME] }));
  const call = first.find((delta) => delta.type === 'tool_call');
  if (call === undefined) return 'the model did not call the tool';
  assert.equal(call.name, TIME.name);
  assert.equal(typeof call.arguments, 'object');
  const finish = first.at(-1);
  const raw = finish?.type === 'finish' ? finish.raw : undefined;
  const toolCalls = first
    .filter((delta) => delta.type === 'tool_call')
    .map((delta, i) => ({ ...delta, callId: `call-${i}` }));
  const results = toolCalls.map(({ callId, name }) => ({ callId, name, result: '12:34' }));
  const messages: PromptMessage[] = [
    question,
    { role: 'assistant', text: textOf(first), toolCalls, ...(raw && { raw }) },
    { role: 'tool', results },
  ];
  const second = await read(provider, ask('', { messages, tools: [TIME], toolChoice: 'none' }));
  assert.notEqual(textOf(second), '');
  return undefined;
};

/** The contract of a provider, by what it says of it. */
export const CHECKS: Readonly<Record<string, Check>> = {
  'the text is that of the server’s own answer': exactText,
  'a text is continued as the server itself continues it': continued,
  'stopping in the middle ends the answer': stopInMidAnswer,
  'stopping before the headers ends the answer': stopBeforeHeaders,
  'ten answers at once are exact': tenAtOnce,
  'a model that is missing is a fault of the configuration': missingModel,
  'a prompt that is too long is cut with a word': longPrompt,
  'tools are called, and their results are read': tools,
};
