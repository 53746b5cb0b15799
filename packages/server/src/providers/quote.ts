import type { Prompt, PromptMessage } from './provider.js';

/** The parts of a prompt that have texts. */
export type PromptTexts = Pick<Prompt, 'system' | 'messages' | 'tools' | 'responseSchema' | 'stop'>;

const MAX_QUOTED_CHARACTERS = 200;
/** Shorter texts are common words that any message may contain. */
const MIN_SECRET_CHARACTERS = 5;
/** A longer error repeats the request. To look for all texts of a client in it would stop the process for seconds. */
const MAX_JUDGED_UNITS = 1_024;
const WINDOW_CHARACTERS = 24;

/**
 * Quotes the message of a response for the operator as plain text in one line. Empty if it is markup or JSON,
 * or contains one of `keys`, a text of the prompt, or 36 or more consecutive characters of one.
 */
export function quote(
  words: string,
  prompt: readonly string[],
  keys: readonly string[] = [],
): string {
  const line = oneLine(words);
  const shown = line.slice(0, MAX_QUOTED_CHARACTERS);
  const secrets = [...keys, ...prompt.map(oneLine)].filter(
    ({ length }) => length >= MIN_SECRET_CHARACTERS,
  );
  const isSecret = /[<{]/.test(line) || secrets.some((secret) => repeats(line, shown, secret));
  return isSecret ? '' : shown;
}

function repeats(line: string, shown: string, text: string): boolean {
  if (line.includes(text)) return true;
  for (let at = 0; at + WINDOW_CHARACTERS <= shown.length; at += WINDOW_CHARACTERS / 2) {
    if (text.includes(shown.slice(at, at + WINDOW_CHARACTERS))) return true;
  }
  return false;
}

/** @returns the texts of the prompt that an error message must not contain. */
export function textsOf({ system, messages }: Pick<Prompt, 'system' | 'messages'>): string[] {
  return [system, ...messages.flatMap(textsIn)];
}

/**
 * @returns the words without the texts that a client sent; empty text if they are too long to tell. What a server says
 * about its model and its parameters must not be read in a client's text.
 */
export function withoutClientTexts(words: string, prompt: PromptTexts): string {
  if (words.length > MAX_JUDGED_UNITS) return '';
  const { messages, tools = [], responseSchema, stop } = prompt;
  const texts = [
    ...messages.flatMap(textsIn),
    ...stringsIn(stop),
    ...namesAndStringsIn(tools.filter((tool) => tool.isClientTool)),
    ...namesAndStringsIn(responseSchema),
  ].filter(({ length }) => length >= MIN_SECRET_CHARACTERS);
  // The longest first, because a text may contain another one.
  return texts
    .toSorted((a, b) => b.length - a.length)
    .reduce((rest, text) => rest.replaceAll(text, ' '), words);
}

function namesAndStringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => [name, ...namesAndStringsIn(each)]);
}

function textsIn(message: PromptMessage): string[] {
  switch (message.role) {
    case 'user':
      return [message.text, ...stringsIn(message.intent && JSON.parse(message.intent))];
    case 'assistant':
      return [message.text, ...stringsIn(message.toolCalls?.map((call) => call.arguments))];
    case 'tool':
      return stringsIn(message.results.map((given) => ('result' in given ? given.result : '')));
  }
}

function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(stringsIn) : [];
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
