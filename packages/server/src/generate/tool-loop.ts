import { addAbortListener } from 'node:events';
import { StreamError, type Usage } from '@rivulet/protocol';
import type { ResumedAnswer } from '../entry.js';
import type { Prompt, Provider, ToolCall, ToolOutcome, ToolResult } from '../providers/provider.js';
import { principalName } from '../request.js';
import type { AnsweredTurn, Failover } from '../upstream/failover.js';
import type { Requester } from '../upstream/queue.js';
import type { Answer } from './answer.js';
import { runCall } from './tools/run-call.js';
import type { ToolContext } from './tools/tool.js';
import type { Toolbox } from './tools/toolbox.js';

/**
 * Asks, runs the tools that the model calls, gives it the results and asks again, until it answers
 * without a call. Tools run once: if a provider fails after them, the next one goes on from their
 * results. Calls in a turn that was cut off are not run.
 *
 * @param earlier the rounds of tools that another process has run. They are not run again.
 * @returns the last turn, with the usage of all turns; undefined if the answer came from the cache.
 * @throws as `Failover.ask` does, and `tool_limit` when the model calls tools in every turn.
 */
export async function answerWithTools(
  failover: Failover,
  prompt: Prompt,
  toolbox: Toolbox,
  requester: Requester,
  answer: Answer,
  earlier: ResumedAnswer['rounds'] = [],
): Promise<AnsweredTurn | undefined> {
  const { tools, limits } = toolbox;
  let messages = prompt.messages.concat(earlier.flatMap(messagesOf));
  let caller: Provider | undefined;
  let usage: Usage = {};
  let called = earlier.reduce((count, { calls }) => count + calls.length, 0);

  for (let round = earlier.length + 1; ; round++) {
    const isLast = round > limits.maxToolRounds;
    const asked: Prompt = { ...prompt, messages, ...(isLast && { toolChoice: 'none' }) };
    const turn = await failover.ask(asked, requester, answer, caller);
    if (turn === undefined) return undefined;
    usage = sum(usage, turn.usage);

    const wantsTools = turn.calls.length > 0 && turn.reason === 'stop' && tools.length > 0;
    if (!wantsTools || (isLast && answer.hasTurnText)) return { ...turn, usage };
    if (isLast) throw toolLimit(limits.maxToolRounds);

    const calls = turn.calls.map(({ providerId, name, arguments: args }): ToolCall => ({
      callId: `call-${++called}`,
      ...(providerId !== undefined && { providerId }),
      name,
      arguments: args,
    }));
    const { raw } = turn;
    const said = { text: answer.readTurn(), toolCalls: calls, ...(raw && { raw }) };
    const results = await runTogether(calls, toolbox, answer, requester);
    messages = messages.concat({ role: 'assistant', ...said }, { role: 'tool', results });
    // The provider that called the tools goes on: calls may be signed, and mean nothing to those before it.
    caller = turn.provider;
    answer.nextTurn();
  }
}

/** A call without a result was running when its process went away. */
const UNKNOWN_OUTCOME = 'the server went away while the tool ran; it may have done its work';

function messagesOf({ calls, results }: ResumedAnswer['rounds'][number]): Prompt['messages'] {
  const toolCalls = calls.map(({ callId, name, arguments: args }) => ({
    callId,
    name,
    arguments: args,
  }));
  const outcomes = calls.map(({ callId, name }): ToolResult => {
    const result = results.find((one) => one.callId === callId);
    if (result === undefined) return { callId, name, error: UNKNOWN_OUTCOME };
    const { type: _, ...outcome } = result;
    return outcome;
  });
  return [
    { role: 'assistant', text: '', toolCalls },
    { role: 'tool', results: outcomes },
  ];
}

/** Runs the calls of a turn at the same time; their results come in the order of the calls. */
async function runTogether(
  calls: readonly ToolCall[],
  { tools, limits }: Toolbox,
  answer: Answer,
  { signal, principal }: Requester,
): Promise<ToolResult[]> {
  for (const { callId, name, arguments: args } of calls)
    await answer.tool({ type: 'tool_call', callId, name, arguments: args });
  const controller = new AbortController();
  const link = addAbortListener(signal, () => controller.abort(signal.reason));
  const context: ToolContext = {
    ...(typeof principal === 'string' && { principal: principalName(principal) }),
    signal: controller.signal,
  };
  try {
    signal.throwIfAborted();
    const running = calls.map((call, i) =>
      i < limits.maxToolCallsPerRound
        ? runCall(call, tools, limits, context, (...failure) => answer.toolFailed(...failure))
        : tooMany(limits.maxToolCallsPerRound),
    );
    // The loop reports the first that rejects; nothing would handle the others.
    for (const outcome of running) outcome.catch(() => {});
    const results: ToolResult[] = [];
    for (const [i, { callId, name }] of calls.entries()) {
      const result = { callId, name, ...(await running[i]!) };
      results.push(result);
      await answer.tool({ type: 'tool_result', ...result });
      signal.throwIfAborted();
    }
    return results;
  } finally {
    link[Symbol.dispose]();
    controller.abort();
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

function toolLimit(rounds: number): StreamError {
  return new StreamError(
    'tool_limit',
    `unable to finish the answer: after ${rounds} rounds of tools the model had not answered; ask for less at a time`,
  );
}
