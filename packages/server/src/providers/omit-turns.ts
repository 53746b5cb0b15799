import { TooLongError } from './failure.js';
import { type Prompt, type PromptMessage, userText } from './provider.js';

/** Below what fits: a model counts tokens, and this file counts characters. */
const MARGIN = 0.9;

export interface Asked<T> {
  answer: T;
  /** The number of the oldest messages that were left out. */
  omitted: number;
}

/**
 * Asks, and asks again without the oldest turns while `ask` throws a `TooLongError`. Each time, the
 * prompt is cut to the part that fits, or to half of it where that is not known. Never leaves out the
 * system text, or the last question and what follows it.
 *
 * @throws {TooLongError} the last question alone is too long.
 */
export async function askWithinContext<T>(
  prompt: Prompt,
  ask: (prompt: Prompt) => Promise<T>,
): Promise<Asked<T>> {
  const { messages } = prompt;
  for (let omitted = 0; ;) {
    const asked = omitted === 0 ? prompt : { ...prompt, messages: messages.slice(omitted) };
    try {
      return { answer: await ask(asked), omitted };
    } catch (error) {
      if (!(error instanceof TooLongError)) throw error;
      const share = error.fits === undefined ? 0.5 : error.fits * MARGIN;
      const count = countToOmit(asked, share);
      if (count === 0) throw error;
      omitted += count;
    }
  }
}

/** @returns the number of messages in the oldest exchanges; 0 if there is only the last one. */
function countToOmit({ system, messages }: Prompt, share: number): number {
  const sizes = messages.map(sizeOf);
  let size = sizes.reduce((sum, each) => sum + each, system.length);
  const target = size * share;
  let count = 0;
  for (const [i, { role }] of messages.entries()) {
    // An exchange begins with the user's message.
    if (i > 0 && role === 'user') {
      count = i;
      if (size <= target) break;
    }
    size -= sizes[i]!;
  }
  return count;
}

/** Characters. */
function sizeOf(message: PromptMessage): number {
  switch (message.role) {
    case 'user':
      return userText(message).length;
    case 'assistant':
      return message.text.length + jsonLength(message.toolCalls);
    case 'tool':
      return jsonLength(message.results);
  }
}

function jsonLength(value: unknown): number {
  return value === undefined ? 0 : JSON.stringify(value).length;
}
