import type { StreamError } from '@rivulet/protocol';
import { validate } from '../output/validate.js';
import type { AnswerOwner } from './shared-answer.js';
import type { ClientTool, ToolReply, ToolUse } from '../types.js';

/** The server refuses longer messages. */
const ERROR_UNITS = 1_024;
const RETRY_MS = 1_000;

/**
 * Runs the calls that wait for a tool of the page, each once, and sends the results to the server. Aborts the calls
 * that were started and that the answer no longer has: another attempt may make them again.
 *
 * @param started the calls that were started, by their ids; updated.
 * @param signal aborted when the answer is final.
 */
export function runTools(
  uses: readonly ToolUse[],
  tools: readonly ClientTool[],
  started: Map<string, AbortController>,
  signal: AbortSignal,
  answer: Pick<AnswerOwner, 'reply'>,
): void {
  if (signal.aborted) return;
  for (const [callId, controller] of started) {
    if (uses.some((use) => use.callId === callId)) continue;
    controller.abort();
    started.delete(callId);
  }
  for (const { callId, name, status, awaits, arguments: args } of uses) {
    const tool = tools.find((each) => each.name === name);
    const isWaiting = status === 'awaiting' && awaits === 'result' && !started.has(callId);
    if (!isWaiting || tool?.execute === undefined) continue;
    const controller = new AbortController();
    started.set(callId, controller);
    signal.addEventListener('abort', () => controller.abort());
    void run(tool, args, controller.signal)
      .then((result) => send(answer, callId, result, controller.signal))
      // The result may be too large, or not JSON.
      .catch((error: unknown) =>
        send(answer, callId, { error: messageOf(error) }, controller.signal),
      )
      // Another page replied first, or the call has ended: the snapshot shows the outcome.
      .catch(() => {});
  }
}

async function run(
  { parameters, execute, ...tool }: ClientTool,
  args: unknown,
  signal: AbortSignal,
): Promise<ToolReply> {
  try {
    // JavaScript code can set it, and expects that the user is asked first.
    if (tool.needsApproval) {
      throw new TypeError(
        `unable to run ${tool.name}: only a tool of the server can have \`needsApproval\`; remove it, and ask the user ` +
          'in `execute`, or leave `execute` out and answer the call with `reply()`',
      );
    }
    const checked = await validate(parameters, args);
    const result: { subscribe?: unknown } | null =
      (await execute?.(checked as never, { signal })) ?? null;
    // As JSON it would be an empty object.
    if (typeof result?.subscribe === 'function') {
      throw new TypeError(
        `unable to run ${tool.name}: \`execute\` returned an Observable; return a promise, such as that of ` +
          '`firstValueFrom` of RxJS',
      );
    }
    return { result };
  } catch (error) {
    return { error: messageOf(error) };
  }
}

/** Sends a reply until a server takes or refuses it, unless the call is aborted. */
async function send(
  answer: Pick<AnswerOwner, 'reply'>,
  callId: string,
  reply: ToolReply,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      return await answer.reply(callId, reply);
    } catch (error) {
      const { retryable, retryAfterMs = RETRY_MS } = error as Partial<StreamError>;
      if (retryable !== true) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
    }
  }
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, ERROR_UNITS);
}
