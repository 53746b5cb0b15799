import { addAbortListener } from 'node:events';
import { StreamError, type Usage } from '@rivulet/protocol';
import type { ResumedAnswer, ToolCallEntry } from '../entry.js';
import type { Prompt, Provider, ToolCall, ToolOutcome, ToolResult } from '../providers/provider.js';
import { principalName } from '../request.js';
import type { AnsweredTurn, Failover } from '../upstream/failover.js';
import type { Requester } from '../upstream/queue.js';
import type { Answer } from './answer.js';
import type { Awaits, ToolReplies, ToolReply } from '../tool-replies.js';
import { type OnToolFailure, runCall, toResult } from './tools/run-call.js';
import { type Tool, type ToolContext, ToolError } from './tools/tool.js';
import type { Toolbox, ToolLimits } from './tools/toolbox.js';

/**
 * Asks, runs the tools that the model calls, gives it the results and asks again, until it answers
 * without a call. Tools run once: if a provider fails after them, the next one goes on from their
 * results. Calls in a turn that was cut off are not run.
 *
 * @param replies receives what clients say of the calls that wait for them; those fail at once without it.
 * @param resumed what another process has generated of the answer. Tools that it has run are not run again; its
 * calls that wait for a client still wait.
 * @returns the last turn, with the usage of all turns; undefined if the answer came from the cache.
 * @throws as `Failover.ask` does, and `tool_limit` when the model calls tools in every turn.
 */
export async function answerWithTools(
  failover: Failover,
  prompt: Prompt,
  toolbox: Toolbox,
  requester: Requester,
  answer: Answer,
  replies: ToolReplies | undefined,
  resumed: ResumedAnswer | undefined,
): Promise<AnsweredTurn | undefined> {
  const { tools, limits } = toolbox;
  const earlier =
    resumed === undefined ? [] : await endRounds(resumed, toolbox, answer, requester, replies);
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
    const results = await runTogether(calls, toolbox, answer, requester, replies);
    messages = messages.concat({ role: 'assistant', ...said }, { role: 'tool', results });
    // The provider that called the tools goes on: calls may be signed, and mean nothing to those before it.
    caller = turn.provider;
    answer.nextTurn();
  }
}

/** A call without a result was running when its process went away. */
const UNKNOWN_OUTCOME: ToolOutcome = {
  error: 'the server went away while the tool ran; it may have done its work',
};

function messagesOf({ calls, results }: EndedRound): Prompt['messages'] {
  const toolCalls = calls.map(({ callId, name, arguments: args }) => ({
    callId,
    name,
    arguments: args,
  }));
  return [
    { role: 'assistant', text: '', toolCalls },
    { role: 'tool', results },
  ];
}

interface EndedRound {
  calls: readonly ToolCall[];
  results: readonly ToolResult[];
}

/** Ends the last round of an answer that another process has begun. @returns all its rounds. */
async function endRounds(
  { rounds, stored }: ResumedAnswer,
  toolbox: Toolbox,
  answer: Answer,
  requester: Requester,
  replies: ToolReplies | undefined,
): Promise<EndedRound[]> {
  const ended: EndedRound[] = [];
  for (const { calls, decisions, results: known } of rounds) {
    const results = known.map((entry): ToolResult => {
      const { type: _, ...result } = entry;
      return result;
    });
    const open = calls.filter(({ callId }) => results.every((result) => result.callId !== callId));
    const outcomeOf = (call: ToolCallEntry, round: Round): Promise<ToolOutcome> => {
      const { callId, awaits, timeoutMs = toolbox.limits.toolReplyTimeoutMs } = call;
      const decision = decisions.find((one) => one.callId === callId);
      if (decision?.approved === false) return outcome(REFUSED);
      const reply = stored.get(callId);
      if (reply !== undefined) {
        const given = reply === 'expired' ? undefined : reply;
        return afterReply(call, given, { ...round, run: () => outcome(UNKNOWN_OUTCOME) });
      }
      if (awaits === undefined || decision !== undefined || replies === undefined)
        return outcome(UNKNOWN_OUTCOME);
      const replied = replies.expect(callId, awaits, timeoutMs, round.signal);
      return replied.then((given) => afterReply(call, given, round));
    };
    if (open.length > 0)
      results.push(
        ...(await inRound(toolbox, answer, requester, (round) =>
          writeResults(
            open,
            open.map((call) => outcomeOf(call, round)),
            round,
          ),
        )),
      );
    ended.push({ calls, results });
  }
  return ended;
}

/** What the calls of a round need. */
interface Round {
  answer: Answer;
  limits: ToolLimits;
  /** Aborts when the round is over. */
  signal: AbortSignal;
  run(call: ToolCall): Promise<ToolOutcome>;
  onFailure: OnToolFailure;
}

/** Does the work of a round. Nothing of it runs on when that has failed. */
async function inRound<T>(
  { tools, limits }: Toolbox,
  answer: Answer,
  { signal, principal }: Requester,
  work: (round: Round) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const link = addAbortListener(signal, () => controller.abort(signal.reason));
  const context: ToolContext = {
    ...(typeof principal === 'string' && { principal: principalName(principal) }),
    signal: controller.signal,
  };
  try {
    signal.throwIfAborted();
    const onFailure: OnToolFailure = (...failure) => answer.toolFailed(...failure);
    return await work({
      answer,
      limits,
      signal: controller.signal,
      run: (call) => runCall(call, tools, limits, context, onFailure),
      onFailure,
    });
  } finally {
    link[Symbol.dispose]();
    controller.abort();
  }
}

/**
 * Runs the calls of a turn at the same time; their results come in the order of the calls. All calls are
 * written before the first result. A call that waits for a client runs once its reply has come.
 */
function runTogether(
  calls: readonly ToolCall[],
  toolbox: Toolbox,
  answer: Answer,
  requester: Requester,
  replies: ToolReplies | undefined,
): Promise<ToolResult[]> {
  const { tools, limits } = toolbox;
  return inRound(toolbox, answer, requester, async (round) => {
    const { signal, run, onFailure } = round;
    const begin: (() => Promise<ToolOutcome>)[] = [];
    for (const [i, call] of calls.entries()) {
      const { callId, name, arguments: args } = call;
      const entry = { type: 'tool_call', callId, name, arguments: args } as const;
      if (i >= limits.maxToolCallsPerRound) {
        begin.push(() => tooMany(limits.maxToolCallsPerRound));
        await answer.tool(entry);
        continue;
      }
      const tool = tools.find((candidate) => candidate.name === name);
      const waiting = await waitingOf(tool, args, replies, onFailure);
      if (waiting === undefined || 'error' in waiting) {
        begin.push(async () => waiting ?? run(call));
        await answer.tool(entry);
        continue;
      }
      const { awaits, replies: expecting } = waiting;
      const { toolReplyTimeoutMs: timeoutMs } = limits;
      // A client may reply as soon as it reads the entry.
      const replied = expecting.expect(callId, awaits, timeoutMs, signal);
      replied.catch(() => {});
      begin.push(async () => afterReply(call, await replied, round));
      await answer.tool({ ...entry, awaits, timeoutMs });
    }
    signal.throwIfAborted();
    return writeResults(
      calls,
      begin.map((each) => each()),
      round,
    );
  });
}

/** Writes what came of calls, in their order. */
async function writeResults(
  calls: readonly ToolCall[],
  outcomes: readonly Promise<ToolOutcome>[],
  { answer, signal }: Round,
): Promise<ToolResult[]> {
  // The first that rejects is thrown; nothing would handle the others.
  for (const each of outcomes) each.catch(() => {});
  const results: ToolResult[] = [];
  for (const [i, { callId, name }] of calls.entries()) {
    const result = { callId, name, ...(await outcomes[i]!) };
    results.push(result);
    await answer.tool({ type: 'tool_result', ...result });
    signal.throwIfAborted();
  }
  return results;
}

/** A call that waits for a client. */
interface Waiting {
  awaits: Awaits;
  replies: ToolReplies;
}

/**
 * Checks the arguments before a user is asked.
 *
 * @returns what the call waits for; the error of one that cannot wait; undefined for one that runs at once.
 */
async function waitingOf(
  tool: Tool | undefined,
  args: unknown,
  replies: ToolReplies | undefined,
  onFailure: OnToolFailure,
): Promise<Waiting | { error: string } | undefined> {
  if (tool?.awaits === undefined) return undefined;
  const { name, awaits } = tool;
  try {
    await tool.check?.(structuredClone(args));
  } catch (error) {
    const isRefused = error instanceof ToolError;
    onFailure(name, isRefused ? 'refused' : 'failed', error);
    return { error: isRefused ? error.message : 'the tool failed' };
  }
  if (replies !== undefined) return { awaits, replies };
  onFailure(name, 'no_reply');
  return { error: 'not run: no client can answer the call' };
}

/**
 * Gives the reply of a client as the result of the call, or runs the call once it is approved.
 *
 * @param reply undefined if none has come in time.
 */
async function afterReply(
  call: ToolCall,
  reply: ToolReply | undefined,
  { answer, run, onFailure, limits: { toolReplyTimeoutMs, maxToolResultUnits } }: Round,
): Promise<ToolOutcome> {
  const { callId, name } = call;
  if (reply === undefined) {
    onFailure(name, 'no_reply');
    return { error: `nobody answered the call within ${toolReplyTimeoutMs} ms` };
  }
  if ('error' in reply) return { error: reply.error };
  if ('result' in reply) return toResult(reply.result, maxToolResultUnits);
  await answer.tool({ type: 'tool_decision', callId, name, approved: reply.approved });
  return reply.approved ? run(call) : REFUSED;
}

const REFUSED: ToolOutcome = { error: 'the user refused the call' };

async function outcome(of: ToolOutcome): Promise<ToolOutcome> {
  return of;
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
