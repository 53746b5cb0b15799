import { validate } from '../output/validate.js';
import type { AnswerOwner } from './shared-answer.js';
import type { ClientTool, ToolReply, ToolUse } from '../types.js';

/** The server refuses longer messages. */
const ERROR_UNITS = 1_024;

/**
 * Runs the calls that wait for a tool of the page, each once, and sends the results to the server.
 *
 * @param startedCalls the ids of the calls that were started; new ones are added.
 * @param signal aborted when the answer is final.
 */
export function runTools(
  uses: readonly ToolUse[],
  tools: readonly ClientTool[],
  startedCalls: Set<string>,
  signal: AbortSignal,
  answer: Pick<AnswerOwner, 'reply'>,
): void {
  for (const { callId, name, status, awaits, arguments: args } of uses) {
    const tool = tools.find((each) => each.name === name);
    const isWaiting = status === 'awaiting' && awaits === 'result' && !startedCalls.has(callId);
    if (!isWaiting || tool?.execute === undefined) continue;
    startedCalls.add(callId);
    void run(tool, args, signal)
      .then((result) => answer.reply(callId, result))
      // The result may be too large, or not JSON.
      .catch((error: unknown) => answer.reply(callId, { error: messageOf(error) }))
      // Another page replied first, or the call has ended: the snapshot shows the outcome.
      .catch(() => {});
  }
}

async function run(
  { parameters, execute }: ClientTool,
  args: unknown,
  signal: AbortSignal,
): Promise<ToolReply> {
  try {
    const checked = await validate(parameters, args);
    return { result: (await execute?.(checked as never, { signal })) ?? null };
  } catch (error) {
    return { error: messageOf(error) };
  }
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, ERROR_UNITS);
}
