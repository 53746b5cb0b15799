import type { StreamError } from '@rivulet/protocol';
import { validate } from '../output/validate.js';
import type { AnswerOwner } from './shared-answer.js';
import type { AnswerSnapshot, ClientTool, ToolReply, ToolUse } from '../types.js';

/** The server refuses longer messages. */
const ERROR_UNITS = 1_024;
const RETRY_MS = 1_000;
const TAKEOVER_MS = 1_000;

/** The answer whose calls are run. The pages of an origin run each call of an `id` in one page at a time. */
type CalledAnswer = Pick<AnswerOwner, 'reply'> & {
  readonly snapshot: AnswerSnapshot;
  /** True while the page reads the answer. */
  readonly isActive: boolean;
  /** Without it, every page runs each call. */
  readonly id?: string;
};

/**
 * Runs the calls that wait for a tool of the page, each once, and sends the results to the server. Aborts the calls
 * that were started and that do not wait any more: another page has replied, or another attempt may make them again.
 *
 * @param started the calls that were started, by their ids; updated.
 * @param signal aborted when the answer is final.
 */
export function runTools(
  uses: readonly ToolUse[],
  tools: readonly ClientTool[],
  started: Map<string, AbortController>,
  signal: AbortSignal,
  answer: CalledAnswer,
): void {
  if (signal.aborted) return;
  const waiting = uses.filter((use) => use.status === 'awaiting' && use.awaits === 'result');
  for (const [callId, controller] of started) {
    if (waiting.some((use) => use.callId === callId)) continue;
    controller.abort();
    started.delete(callId);
  }
  for (const { callId, name, arguments: args } of waiting) {
    const tool = tools.find((each) => each.name === name);
    if (tool?.execute === undefined || started.has(callId)) continue;
    const controller = new AbortController();
    started.set(callId, controller);
    signal.addEventListener('abort', () => controller.abort());
    const work = (): Promise<void> => answerCall(answer, callId, tool, args, controller.signal);
    if (answer.id === undefined) void work();
    else void withLock(`rivulet:tool:${answer.id}:${callId}`, answer, controller.signal, work);
  }
}

/** Runs `work`, which never rejects, while this page holds the lock, or without one where the page has no locks. */
async function withLock(
  name: string,
  answer: CalledAnswer,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  const { locks } = (globalThis.navigator ?? {}) as Partial<Navigator>;
  if (locks === undefined) return work();
  let isFree = true;
  try {
    await locks.request(name, { ifAvailable: true }, (lock) => {
      isFree = lock !== null;
      return isFree ? work() : undefined;
    });
  } catch {
    // A sandboxed frame may use no locks.
    return work();
  }
  if (isFree) return;
  const takeOver = async (): Promise<void> => {
    // The other page may have replied before it was closed, and this page learns of it a moment later.
    do await delay(TAKEOVER_MS);
    while (answer.isActive && answer.snapshot.status === 'reconnecting');
    if (answer.isActive && !signal.aborted) await work();
  };
  // Rejects if the call does not wait any more, or the page is left.
  await locks.request(name, { signal }, takeOver).catch(() => {});
}

/** Resolves once the server has taken or refused the reply, or the call does not wait any more. Never rejects. */
async function answerCall(
  answer: CalledAnswer,
  callId: string,
  tool: ClientTool,
  args: unknown,
  signal: AbortSignal,
): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve());
  });
  const replied = run(tool, args, signal)
    .then((result) => send(answer, callId, result, signal))
    // The result may be too large, or not JSON.
    .catch((error: unknown) => send(answer, callId, { error: messageOf(error) }, signal))
    // Another page replied first, or the call has ended: the snapshot shows the outcome.
    .catch(() => {});
  await Promise.race([replied, ended]);
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
  answer: CalledAnswer,
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
      await delay(retryAfterMs);
    }
  }
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, ERROR_UNITS);
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
