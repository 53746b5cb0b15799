import { setTimeout as wait } from 'node:timers/promises';
import type { FinishReason, Usage } from '@rivulet/protocol';
import { type Delta, type Prompt, type Provider, ProviderError } from './provider.js';

/** One step of a script. `stall` never ends; `fail` throws its error. */
export type MockStep =
  | { text: string }
  | { thought: string }
  | { call: string; arguments: unknown }
  | { waitMs: number }
  | { stall: true }
  | { fail: Error }
  | { finish: FinishReason; usage?: Usage };

/** A provider that plays the script of a prompt. For tests and load tests without a model. */
export function mockProvider(
  script: (prompt: Prompt) => Iterable<MockStep> | AsyncIterable<MockStep>,
  {
    name = 'scripted',
    model = 'script',
    canContinue = false,
    hasJsonMode = true,
  }: {
    name?: string | undefined;
    model?: string | undefined;
    canContinue?: boolean | undefined;
    /** True if the script supports JSON answers. True unless given. */
    hasJsonMode?: boolean | undefined;
  } = {},
): Provider {
  return {
    name,
    model,
    canContinue,
    hasJsonMode,
    withModel: (other) => mockProvider(script, { name, model: other, canContinue, hasJsonMode }),
    async *stream(prompt, signal): AsyncGenerator<Delta, void, undefined> {
      signal.throwIfAborted();
      for await (const step of script(prompt)) {
        signal.throwIfAborted();
        if ('text' in step) yield { type: 'text', text: step.text };
        else if ('thought' in step) yield { type: 'thought', text: step.thought };
        else if ('call' in step)
          yield { type: 'tool_call', name: step.call, arguments: step.arguments };
        else if ('waitMs' in step) await pause(step.waitMs, signal);
        else if ('stall' in step) await pause(undefined, signal);
        else if ('fail' in step) throw step.fail;
        else if ('finish' in step)
          yield { type: 'finish', reason: step.finish, usage: step.usage ?? {} };
        else throw unknownStep(step);
      }
    },
  };
}

// The readers of a stream get the message of a `ProviderError`, and so does a test.
function unknownStep(step: never): ProviderError {
  return new ProviderError(
    'bad_request',
    `unable to play the script: ${JSON.stringify(step)} is not a step of \`mockProvider\`; use one of ` +
      '`{ text }`, `{ thought }`, `{ call, arguments }`, `{ waitMs }`, `{ stall: true }`, `{ fail: error }`, `{ finish }`',
  );
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Waits for `ms` milliseconds, or forever if undefined. @throws `signal.reason` when the signal aborts. */
export async function pause(ms: number | undefined, signal: AbortSignal): Promise<void> {
  try {
    await wait(ms ?? LONGEST_TIMER_MS, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
