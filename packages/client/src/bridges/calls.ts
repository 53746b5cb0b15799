import { StreamError } from '@rivulet/protocol';
import { filter, firstValueFrom } from 'rxjs';
import { isFinal } from '../answer/snapshot.js';
import type { Answer, Client, ClientTool, ToolReply, ToolUse } from '../types.js';

/** The replies of a page to the calls of one answer, by the ids of the calls. */
export interface CallReplies {
  answerId: string;
  replies: ReadonlyMap<string, ToolReply>;
}

/** @returns the id of a call that no other answer of the conversation has. */
export function toolCallIdOf({ id }: Pick<Answer, 'id'>, callId: string): string {
  return `${id}:${callId}`;
}

/** @returns the answer and the call that `toolCallIdOf()` named; undefined for an id of another form. */
function parseToolCallId(toolCallId: string): { answerId: string; callId: string } | undefined {
  const [, answerId, callId] = /^([^:]+):(.+)$/s.exec(toolCallId) ?? [];
  return answerId !== undefined && callId !== undefined ? { answerId, callId } : undefined;
}

/** @returns the replies to the calls of the newest answer; undefined if no call is one of an answer. */
export function repliesOf(
  replies: Iterable<readonly [toolCallId: string, reply: ToolReply]>,
): CallReplies | undefined {
  const parsed = [...replies].flatMap(([toolCallId, reply]) => {
    const call = parseToolCallId(toolCallId);
    return call === undefined ? [] : [{ ...call, reply }];
  });
  const answerId = parsed.at(-1)?.answerId;
  if (answerId === undefined) return undefined;
  const own = parsed.filter((each) => each.answerId === answerId);
  return { answerId, replies: new Map(own.map(({ callId, reply }) => [callId, reply])) };
}

/** Cancels the answer of calls that nobody answers, because the user has asked something else. */
export function cancelWaiting(client: Client, toolCallIds: readonly string[]): void {
  const answerId = toolCallIds.flatMap((id) => parseToolCallId(id)?.answerId ?? []).at(-1);
  if (answerId !== undefined) client.resume(answerId).cancel();
}

/** @returns true if the page has to answer the call: no tool of `tools` does. */
export function isForPage(
  { name, awaits }: Pick<ToolUse, 'name' | 'awaits'>,
  tools: readonly ClientTool[] = [],
): boolean {
  if (awaits !== 'result') return awaits === 'approval';
  return !tools.some((tool) => tool.name === name && tool.execute !== undefined);
}

/**
 * Sends the replies to the calls that wait.
 *
 * @throws {StreamError} if the server did not take a reply, unless the call has ended or another page was first.
 */
export async function sendReplies(
  answer: Answer,
  replies: ReadonlyMap<string, ToolReply>,
): Promise<void> {
  const { tools } = await firstValueFrom(
    answer.state$.pipe(
      filter((snapshot) => {
        const known = new Set(snapshot.tools.map(({ callId }) => callId));
        return isFinal(snapshot) || [...replies.keys()].every((callId) => known.has(callId));
      }),
    ),
  );
  const waiting = tools.filter(({ status }) => status === 'awaiting');
  await Promise.all(
    waiting.map(async ({ callId }) => {
      const reply = replies.get(callId);
      if (reply !== undefined) await send(answer, callId, reply);
    }),
  );
}

async function send(answer: Answer, callId: string, reply: ToolReply): Promise<void> {
  try {
    await answer.reply(callId, reply);
  } catch (error) {
    const code = error instanceof StreamError ? error.code : undefined;
    if (code === 'conflict' || code === 'not_found') return;
    // The result is too large, or not JSON. The model gets an error instead, so that the answer goes on.
    if (!('result' in reply) || (code !== 'bad_request' && !(error instanceof TypeError)))
      throw error;
    await answer.reply(callId, { error: (error as Error).message });
  }
}
