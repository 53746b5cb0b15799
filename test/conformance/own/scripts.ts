import { type Delta, defineTool, type Provider, ProviderError, questionOf } from '@rivulet/server';
import type { Tool } from '@rivulet/server';
import * as z from 'zod';
import { SCRIPT_PREFIX, type Script, type Step } from '../suite/script.js';
import { gates } from './gates.js';

/** A `Step` that needs more than a model. */
export type Perform = (
  step: Extract<Step, { describe: true } | { serve: string } | { close: string }>,
) => Promise<string>;

/**
 * The progress of each script by its id. The model is called again after tool calls, and the other model
 * after a failure.
 */
const played = new Map<string, number>();

/** A model that plays the scripts it is asked, and leaves other questions to `otherwise`. */
export function scripts(name: string, otherwise: Provider, perform: Perform): Provider {
  return {
    name,
    model: 'script',
    canContinue: true,
    hasJsonMode: true,
    async *stream(prompt, signal) {
      const query = questionOf(prompt);
      if (!query.startsWith(SCRIPT_PREFIX)) return yield* otherwise.stream(prompt, signal);
      const { id, steps } = JSON.parse(query.slice(SCRIPT_PREFIX.length)) as Script;
      for (;;) {
        const at = played.get(id) ?? 0;
        const step = steps[at];
        played.set(id, at + 1);
        // A fault that the breaker does not count, so that one script cannot shut out the next.
        if (step === undefined || ('fail' in step && step.fail === 'unavailable')) {
          throw new Error('as the script says');
        }
        yield* play(step, signal, perform);
        if ('finish' in step || 'calls' in step) return;
      }
    },
  };
}

async function* play(step: Step, signal: AbortSignal, perform: Perform): AsyncGenerator<Delta> {
  signal.throwIfAborted();
  if ('text' in step) {
    yield { type: 'text', text: step.text };
  } else if ('thought' in step) {
    yield { type: 'thought', text: step.thought };
  } else if ('hold' in step) {
    try {
      await gates.passed(step.hold, signal);
    } catch (error) {
      if (step.given_up !== undefined) gates.open(step.given_up);
      throw error;
    }
  } else if ('load' in step) {
    yield { type: 'loading' };
    await gates.passed(step.load, signal);
    yield { type: 'loaded', ms: 1 };
  } else if ('omit' in step) {
    yield { type: 'omitted', messages: step.omit };
  } else if ('open' in step) {
    gates.open(step.open);
  } else if ('calls' in step) {
    for (const call of step.calls) yield { type: 'tool_call', ...call };
    yield { type: 'finish', reason: 'stop', usage: {} };
  } else if ('fail' in step) {
    throw new ProviderError('content_filter', 'unable to answer: the script says so');
  } else if ('finish' in step) {
    yield { type: 'finish', reason: step.finish, usage: { output_tokens: 7 } };
  } else {
    yield { type: 'text', text: await perform(step) };
  }
}

/** The tools that a model may call, as in README.md, "Scripts". */
export const SCRIPT_TOOLS: readonly Tool[] = [
  defineTool({
    name: 'echo',
    description: 'Gives back its arguments, once `gate` is open if it is given.',
    parameters: z.looseObject({ gate: z.string().optional() }),
    async execute({ gate, ...rest }, { signal }) {
      if (gate !== undefined) await gates.passed(gate, signal);
      return rest;
    },
  }),
  defineTool({
    name: 'guarded_echo',
    description: 'Gives back its arguments, once a user has approved it.',
    parameters: z.looseObject({}),
    needsApproval: true,
    execute: (args) => args,
  }),
];
