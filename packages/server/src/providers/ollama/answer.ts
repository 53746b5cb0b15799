import type { FinishReason, Usage } from '@rivulet/protocol';
import type { ChatResponse, ToolCall } from 'ollama';
import { providerError, truncated } from '../failure.js';
import { isSchema } from '../json-schema.js';
import type { Delta, ProviderError } from '../provider.js';
import { MAX_FRAME_CHARACTERS, type AnswerParser } from '../stream-answer.js';
import { createThinkTags } from './think-tags.js';

/** A line on the wire. Any field may be absent. */
type Line = Partial<Omit<ChatResponse, 'message'>> & {
  message?: { content?: string | null; thinking?: string | null; tool_calls?: WireCall[] | null };
  error?: unknown;
};

/** The client's type has no id. Ollama sends one since 0.12. */
type WireCall = ToolCall & { id?: unknown };

export interface AnswerOptions {
  model: string;
  /** True if the model may call tools. Only then are its thoughts kept. */
  hasTools: boolean;
  /** True if the answer continues a text. */
  continues?: boolean | undefined;
  /** Quotes Ollama's message for the operator. */
  quoted(words: string): string;
}

/** Parses the lines of one answer. Each line is a JSON object. */
export function createOllamaParser({
  model,
  hasTools,
  continues,
  quoted,
}: AnswerOptions): AnswerParser {
  const tags = createThinkTags(continues);
  let rest = '';
  let hasBegun = false;
  let hasCalled = false;
  let thinking = '';

  function readLine(text: string, deltas: Delta[]): void {
    const line = parseLine(text);
    if (line === undefined) return;
    hasBegun = true;
    if (line.error !== undefined) throw failedLine(line.error, quoted);
    const first = deltas.length;
    const { message } = line;
    if (message?.thinking) deltas.push({ type: 'thought', text: message.thinking });
    if (message?.content) tags.read(message.content, deltas);
    const calls = message?.tool_calls ?? [];
    for (const call of calls) deltas.push(toCall(call));
    if (line.done === true) tags.end(deltas);
    if (hasTools) {
      hasCalled ||= calls.length > 0;
      for (let i = first; i < deltas.length; i++) {
        const delta = deltas[i]!;
        if (delta.type === 'thought') thinking += delta.text;
      }
    }
    if (line.done === true) deltas.push(toFinish(line));
  }

  function toFinish({ done_reason: reason, model: version, ...counts }: Line): Delta {
    if (!reason) throw truncated('ollama', 'its last line has no reason');
    const isKept = hasCalled && thinking !== '';
    return {
      type: 'finish',
      reason: toReason(reason),
      usage: toUsage(counts),
      ...(version !== undefined && { model: version }),
      ...(isKept && { raw: { provider: 'ollama', model, parts: [thinking] } }),
    };
  }

  return {
    get hasBegun() {
      return hasBegun;
    },
    read(text, deltas) {
      let start = 0;
      for (let end; (end = text.indexOf('\n', start)) !== -1; start = end + 1) {
        const line = rest + text.slice(start, end);
        rest = '';
        readLine(line, deltas);
      }
      rest += text.slice(start);
      if (rest.length > MAX_FRAME_CHARACTERS) throw truncated('ollama', 'a line is too long');
    },
    end(deltas) {
      readLine(rest, deltas);
    },
  };
}

/** @returns undefined for a line without content. */
function parseLine(text: string): Line | undefined {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    // The message of JSON.parse quotes the answer, so the error is not kept as a cause.
    if (text.trim() === '') return undefined;
  }
  if (!isSchema(line)) throw truncated('ollama', 'a line of its stream is not a JSON object');
  return line;
}

function failedLine(error: unknown, quoted: AnswerOptions['quoted']): ProviderError {
  const words = typeof error === 'string' ? quoted(error) : '';
  return providerError('unavailable', `ollama failed while it answered${words && `: ${words}`}`);
}

function toCall({ id, function: { name, arguments: args } }: WireCall): Delta {
  return {
    type: 'tool_call',
    ...(typeof id === 'string' && { providerId: id }),
    name,
    arguments: args ?? {},
  };
}

function toReason(doneReason: string): FinishReason {
  return doneReason === 'stop' || doneReason === 'length' ? doneReason : 'other';
}

/** Ollama leaves out a count of zero, such as that of a prompt which is still in its cache. */
function toUsage(counts: Line): Usage {
  return {
    ...(counts.prompt_eval_count !== undefined && { input_tokens: counts.prompt_eval_count }),
    ...(counts.eval_count !== undefined && { output_tokens: counts.eval_count }),
  };
}
