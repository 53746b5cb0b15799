import type { Prompt, PromptMessage } from './provider.js';

const MAX_QUOTED_CHARACTERS = 200;
/** Shorter texts are words that any message may have. */
const MIN_SECRET_CHARACTERS = 5;
const WINDOW_CHARACTERS = 24;

/**
 * Upstream's own words for the operator: plain text in one line. Empty if the words are markup or JSON,
 * or repeat one of `keys`, a text of the prompt, or a part of one of 36 characters or more.
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

/** What a prompt says that an error must not repeat. */
export function textsOf({ system, messages }: Pick<Prompt, 'system' | 'messages'>): string[] {
  return [system, ...messages.flatMap(textsIn)];
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
