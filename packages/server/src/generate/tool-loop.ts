import { addAbortListener } from 'node:events';
import { StreamError, type Usage } from '@rivulet/protocol';
import type { ToolCallEntry, ToolResultEntry } from '../entry.js';
import { FlatText } from './flat-text.js';
import type { Prompt, Provider, ToolCall, ToolOutcome, ToolResult } from '../providers/provider.js';
import type { Requester } from '../upstream/queue.js';
import type { OnFallback, Router, RouteStep } from '../upstream/failover.js';
import { runCall } from './tools/run-call.js';
import type { Toolbox } from './tools/toolbox.js';

type Finish = Extract<RouteStep, { type: 'finish' }>;
type Shown = Exclude<RouteStep, Finish>;

/** What `answerWithTools` yields: its place in a queue, an attempt, text and tools as they come, then one finish. */
export type AnswerStep = Shown | ToolCallEntry | ToolResultEntry | Finish;

/**
 * Asks, runs the tools that the model calls, gives it the results and asks again, until it answers
 * without a call. Tools run once: should a provider fail after them, the next one goes on from their
 * results. Calls in a turn that was cut off are not run. Throws as `follow` does, and `tool_limit` when
 * the model only calls tools to the last.
 */
export async function* answerWithTools(
  router: Router,
  prompt: Prompt,
  toolbox: Toolbox,
  requester: Requester,
  onFallback: OnFallback,
): AsyncGenerator<AnswerStep, void, undefined> {
  const { tools, limits } = toolbox;
  const spoken = new Spoken(tools.length > 0);
  let messages = prompt.messages;
  let caller: Provider | undefined;
  let usage: Usage = {};
  let called = 0;

  for (let turn = 1; ; turn++) {
    const isLast = turn > limits.maxToolRounds;
    const asked: Prompt = { ...prompt, messages, ...(isLast && { toolChoice: 'none' }) };
    const isFirst = turn === 1;
    let finish: Finish | undefined;
    for await (const step of router.follow(asked, requester, onFallback, caller)) {
      switch (step.type) {
        case 'attempt':
          spoken.beginTurn();
          // Only where the text begins again: the next turn of the same provider carries it on.
          if (!isFirst && step.failure === undefined) break;
          spoken.last = '';
          yield step;
          break;
        case 'queued':
        case 'thought':
          yield step;
          break;
        case 'text':
          if (spoken.isMidParagraph()) yield { type: 'text', text: '\n\n' };
          spoken.add(step.text);
          yield step;
          break;
        case 'finish':
          finish = step;
      }
    }
    if (finish === undefined) throw new Error('`follow` ends with a finish or throws');
    usage = sum(usage, finish.usage);

    const wantsTools = finish.calls.length > 0 && finish.reason === 'stop' && tools.length > 0;
    if (!wantsTools || (isLast && spoken.hasTurnText)) {
      yield { ...finish, usage };
      return;
    }
    if (isLast) throw toolLimit(limits.maxToolRounds);

    const calls = finish.calls.map(({ providerId, name, arguments: args }): ToolCall => ({
      callId: `call-${++called}`,
      ...(providerId !== undefined && { providerId }),
      name,
      arguments: args,
    }));
    const results = yield* runTogether(calls, toolbox, requester.signal);
    const { raw } = finish;
    const said = { text: spoken.turnText(), toolCalls: calls, ...(raw && { raw }) };
    messages = messages.concat({ role: 'assistant', ...said }, { role: 'tool', results });
    // Who called the tools goes on: the calls may be signed, and mean nothing to those before it.
    caller = finish.provider;
  }
}

/** What the model has said so far. */
class Spoken {
  /** The last piece of all turns of the attempt. */
  last = '';
  readonly #isKept: boolean;
  #turn = new FlatText();

  /** The text of a turn is kept only where tools may be called: it is then part of the next prompt. */
  constructor(isKept: boolean) {
    this.#isKept = isKept;
    this.beginTurn();
  }

  get hasTurnText(): boolean {
    return this.#turn.length > 0;
  }

  beginTurn(): void {
    this.#turn = new FlatText();
    if (!this.#isKept) this.#turn.discard();
  }

  add(text: string): void {
    this.#turn.add(text);
    this.last = text;
  }

  turnText(): string {
    return this.#turn.read() ?? '';
  }

  /** @returns true if a turn that begins now would run into the one before: each is its own paragraph. */
  isMidParagraph(): boolean {
    return !this.hasTurnText && /\S$/.test(this.last);
  }
}

/** Runs the calls of a turn at the same time; their results come in the order of the calls. */
async function* runTogether(
  calls: readonly ToolCall[],
  { tools, limits, onFailure }: Toolbox,
  signal: AbortSignal,
): AsyncGenerator<ToolCallEntry | ToolResultEntry, ToolResult[], undefined> {
  for (const { callId, name, arguments: args } of calls) {
    yield { type: 'tool_call', callId, name, arguments: args };
  }
  const left = new AbortController();
  const link = addAbortListener(signal, () => left.abort(signal.reason));
  try {
    const running = calls.map((call, i) =>
      i < limits.maxToolCallsPerRound
        ? runCall(call, tools, limits, left.signal, onFailure)
        : tooMany(limits.maxToolCallsPerRound),
    );
    // Whoever waits hears of the first that rejects; of the others nobody would.
    for (const outcome of running) outcome.catch(() => {});
    const results: ToolResult[] = [];
    for (const [i, { callId, name }] of calls.entries()) {
      const result = { callId, name, ...(await running[i]!) };
      results.push(result);
      yield { type: 'tool_result', ...result };
    }
    return results;
  } finally {
    link[Symbol.dispose]();
    left.abort();
  }
}

async function tooMany(most: number): Promise<ToolOutcome> {
  return { error: `not run: there were more than ${most} calls at once` };
}

function sum(a: Usage, b: Usage): Usage {
  const add = (x?: number, y?: number) => (x === undefined ? y : x + (y ?? 0));
  const input = add(a.input_tokens, b.input_tokens);
  const output = add(a.output_tokens, b.output_tokens);
  return {
    ...(input !== undefined && { input_tokens: input }),
    ...(output !== undefined && { output_tokens: output }),
  };
}

function toolLimit(steps: number): StreamError {
  return new StreamError(
    'tool_limit',
    `unable to finish the answer: after ${steps} rounds of tools the model had not answered; ask for less at a time`,
  );
}
