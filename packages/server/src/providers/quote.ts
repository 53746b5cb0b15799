import type { Prompt, PromptMessage } from './provider.js';

const MAX_QUOTED_CHARACTERS = 200;

/**
 * Upstream's own words for a message that people read: plain text in one line, and nothing at all
 * where it repeats something `secret` or is markup or JSON.
 */
export function quote(words: string, secret: readonly string[]): string {
  const line = oneLine(words);
  const repeats = secret.map(oneLine).some((text) => text !== '' && line.includes(text));
  return repeats || /[<{]/.test(line) ? '' : line.slice(0, MAX_QUOTED_CHARACTERS);
}

/** What a prompt says that an error must not repeat. */
export function textsOf({ system, messages }: Pick<Prompt, 'system' | 'messages'>): string[] {
  return [system, ...messages.flatMap(textsIn)];
}

function textsIn(message: PromptMessage): string[] {
  switch (message.role) {
    case 'user':
      return [message.text];
    case 'assistant':
      return [message.text, ...stringsIn(message.toolCalls?.map((call) => call.arguments))];
    case 'tool':
      return stringsIn(message.results.map((given) => ('result' in given ? given.result : '')));
  }
}

/** Short ones are left out: they are words that any message may have. */
function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return value.length < 5 ? [] : [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(stringsIn) : [];
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
