import { addAbortListener } from 'node:events';
import { StreamError } from '@rivulet/protocol';
import type { ResumedAnswer, ToolCallEntry } from '../entry.js';
import type { Prompt, Provider, ToolCall, ToolOutcome, ToolResult } from '../providers/provider.js';
import { readableError } from '../readable-error.js';
import { principalName } from '../request.js';
import type { AnsweredTurn, Failover } from '../upstream/failover.js';
import type { Requester } from '../upstream/queue.js';
import type { AnswerWriter } from './answer-writer.js';
import type { Awaits, ToolReplies, ToolReply } from '../tool-replies.js';
import {
  inTime,
  type OnToolFailure,
  runCall,
  ToolTimeoutError,
  toResult,
} from './tools/run-call.js';
import { type Tool, type ToolContext, ToolError } from './tools/tool.js';
import type { Toolbox, ToolLimits } from './tools/toolbox.js';

/**
 * Calls the provider, runs the tools that the model calls, and calls the provider again with the results,
 * until the model answers without a tool call. A tool call runs once: if a provider fails afterwards, the
 * next provider continues from its result. The tool calls of an interrupted turn do not run.
 *
 * @param replies receives the replies of clients to calls that wait for them; such calls fail without it.
 * @param resumed the part of the answer that another process has generated. Its finished tool calls do not run again;
 * its calls that wait for a client still wait.
 * @returns the last turn, with the usage of all calls; undefined if the answer came from the cache.
 * @throws the errors of `Failover.ask`, and `tool_limit` if the model calls tools in every turn.
 */
export async function answerWithTools(
  failover: Failover,
  prompt: Prompt,
  toolbox: Toolbox,
  requester: Requester,
  answer: AnswerWriter,
  replies: ToolReplies | undefined,
  resumed: ResumedAnswer | undefined,
): Promise<AnsweredTurn | undefined> {
  const { tools, limits } = toolbox;
  const earlier =
    resumed === undefined ? [] : await endRounds(resumed, toolbox, answer, requester, replies);
  let messages = prompt.messages.concat(earlier.flatMap(messagesOf));
  let caller: Provider | undefined;
  let called = earlier.reduce((count, { calls }) => count + calls.length, 0);

  for (let round = earlier.length + 1; ; round++) {
    const isLast = round > limits.maxToolRounds;
    const asked: Prompt = { ...prompt, messages, ...(isLast && { toolChoice: 'none' }) };
    const turn = await failover.ask(asked, requester, answer, caller);
    if (turn === undefined) return undefined;

    const wantsTools = turn.calls.length > 0 && turn.reason === 'stop' && tools.length > 0;
    if (!wantsTools || (isLast && answer.hasTurnText)) return { ...turn, usage: answer.usage };
    if (isLast) throw toolLimit(limits.maxToolRounds);

    const calls = turn.calls.map(({ providerId, name, arguments: args }): ToolCall => ({
      callId: `call-${++called}`,
      ...(providerId !== undefined && { providerId }),
      name,
      arguments: args,
    }));
    const { raw } = turn;
    const said = { text: answer.readTurnText(), toolCalls: calls, ...(raw && { raw }) };
    const results = await runCalls(calls, toolbox, answer, requester, replies);
    messages = messages.concat({ role: 'assistant', ...said }, { role: 'tool', results });
    // The next turn goes to the provider that called the tools: other providers may not accept its signed
    // calls.
    caller = turn.provider;
    answer.beginNextTurn();
  }
}

/** The call was running when its process was lost. */
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

/** Completes the last round of an answer that another process has begun. @returns all its rounds. */
async function endRounds(
  { rounds, stored }: ResumedAnswer,
  toolbox: Toolbox,
  answer: AnswerWriter,
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
        return applyReply(call, given, { ...round, run: () => outcome(UNKNOWN_OUTCOME) });
      }
      if (awaits === undefined || decision !== undefined || replies === undefined)
        return outcome(UNKNOWN_OUTCOME);
      const replied = replies.expect(callId, awaits, timeoutMs, round.signal);
      return replied.then((given) => applyReply(call, given, round));
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

/** The context of the calls in one round. */
interface Round {
  answer: AnswerWriter;
  limits: ToolLimits;
  /** Aborts when the round is over. */
  signal: AbortSignal;
  run(call: ToolCall): Promise<ToolOutcome>;
  onFailure: OnToolFailure;
}

/** Runs the calls of a round. Aborts all of them after a failure. */
async function inRound<T>(
  { tools, limits }: Toolbox,
  answer: AnswerWriter,
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
    const onFailure: OnToolFailure = (...failure) => answer.onToolFailed(...failure);
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
 * Runs the calls of a turn concurrently. Their results are in the order of the calls. All calls are written
 * before the first result. A call that waits for a client runs after its reply.
 */
function runCalls(
  calls: readonly ToolCall[],
  toolbox: Toolbox,
  answer: AnswerWriter,
  requester: Requester,
  replies: ToolReplies | undefined,
): Promise<ToolResult[]> {
  const { tools, limits } = toolbox;
  return inRound(toolbox, answer, requester, async (round) => {
    const { signal, run } = round;
    const begin: (() => Promise<ToolOutcome>)[] = [];
    for (const [i, call] of calls.entries()) {
      const { callId, name, arguments: args } = call;
      const entry = { type: 'tool_call', callId, name, arguments: args } as const;
      if (i >= limits.maxToolCallsPerRound) {
        begin.push(() => tooMany(limits.maxToolCallsPerRound));
        await answer.writeTool(entry);
        continue;
      }
      const tool = tools.find((candidate) => candidate.name === name);
      const waiting = await awaitedReplyOf(tool, args, replies, round);
      if (waiting === undefined || 'error' in waiting) {
        begin.push(async () => waiting ?? run(call));
        await answer.writeTool(entry);
        continue;
      }
      const { awaits, replies: expecting } = waiting;
      const { toolReplyTimeoutMs: timeoutMs } = limits;
      // A client may reply as soon as it reads the entry.
      const replied = expecting.expect(callId, awaits, timeoutMs, signal);
      replied.catch(() => {});
      begin.push(async () => applyReply(call, await replied, round));
      await answer.writeTool({ ...entry, awaits, timeoutMs });
    }
    signal.throwIfAborted();
    return writeResults(
      calls,
      begin.map((each) => each()),
      round,
    );
  });
}

/** Writes the results of calls, in the order of the calls. */
async function writeResults(
  calls: readonly ToolCall[],
  outcomes: readonly Promise<ToolOutcome>[],
  { answer, signal }: Round,
): Promise<ToolResult[]> {
  // Only the first rejection is thrown. The others need a handler.
  for (const each of outcomes) each.catch(() => {});
  const results: ToolResult[] = [];
  for (const [i, { callId, name }] of calls.entries()) {
    const result = { callId, name, ...(await outcomes[i]!) };
    results.push(result);
    await answer.writeTool({ type: 'tool_result', ...result });
    signal.throwIfAborted();
  }
  return results;
}

/** The reply that a call waits for, and its receiver. */
interface AwaitedReply {
  awaits: Awaits;
  replies: ToolReplies;
}

/**
 * Checks the arguments before a client is asked for a reply.
 *
 * @returns the reply that the call waits for; the error of invalid arguments; undefined if the call runs at
 * once.
 */
async function awaitedReplyOf(
  tool: Tool | undefined,
  args: unknown,
  replies: ToolReplies | undefined,
  { signal, onFailure, limits: { toolTimeoutMs } }: Round,
): Promise<AwaitedReply | { error: string } | undefined> {
  if (tool?.awaits === undefined) return undefined;
  const { name, awaits } = tool;
  try {
    await inTime(signal, toolTimeoutMs, async () => tool.check?.(structuredClone(args)));
  } catch (thrown) {
    signal.throwIfAborted();
    const error = readableError(thrown);
    if (error instanceof ToolTimeoutError) {
      onFailure(name, 'timeout');
      return { error: error.message };
    }
    const isRefused = error instanceof ToolError;
    onFailure(name, isRefused ? 'refused' : 'failed', error);
    return { error: isRefused ? error.message : 'the tool failed' };
  }
  if (replies !== undefined) return { awaits, replies };
  onFailure(name, 'no_reply');
  return { error: 'not run: no client can answer the call' };
}

/**
 * Uses the client's reply as the result of the call, or runs the call if the reply approves it.
 *
 * @param reply undefined after the timeout.
 */
async function applyReply(
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
  await answer.writeTool({ type: 'tool_decision', callId, name, approved: reply.approved });
  return reply.approved ? run(call) : REFUSED;
}

const REFUSED: ToolOutcome = { error: 'the user refused the call' };

async function outcome(of: ToolOutcome): Promise<ToolOutcome> {
  return of;
}

async function tooMany(most: number): Promise<ToolOutcome> {
  return { error: `not run: there were more than ${most} calls at once` };
}

function toolLimit(rounds: number): StreamError {
  return new StreamError(
    'tool_limit',
    `unable to finish the answer: after ${rounds} rounds of tools the model had not answered; ask for less at a time`,
  );
}
