import { TooLongError } from './failure.js';
import { type Prompt, type PromptMessage, userText } from './provider.js';

/** A safety margin, because models count tokens and this file counts characters. */
const MARGIN = 0.9;

export interface FittedResult<T> {
  answer: T;
  /** The number of the oldest messages that were left out. */
  omitted: number;
}

/**
 * Calls `ask`, and again without the oldest turns while it throws a `TooLongError`. Each time, the prompt is
 * cut to the share that fits, or to half if that is not known. The system text, the last question and the
 * messages after it are never left out.
 *
 * @throws {TooLongError} the last question alone is too long.
 */
export async function askWithinContext<T>(
  prompt: Prompt,
  ask: (prompt: Prompt) => Promise<T>,
): Promise<FittedResult<T>> {
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

/** The size in characters. */
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
