import type { ContextMessage } from '@rivulet/protocol';
import type { ResumableConnectConnectionAdapter } from '@tanstack/ai-client';
import { randomId } from '../random-id.js';
import type { Answer, Client, ClientTool, ToolReply, ToolUse } from '../types.js';
import {
  type AgUiEvent,
  agUiEvents,
  type EventStyle,
  type Run,
  toolEvents,
} from './ag-ui-events.js';
import { type CallReplies, cancelWaiting, repliesOf, toolCallIdOf } from './calls.js';
import { ChatAnswers } from './chat-answers.js';
import { type BridgeOptions, findAnswer, refuse, requestOf } from './conversation.js';
import type { Reading } from './steps.js';

export type { BridgeOptions } from './conversation.js';
export type { AnswerMetadata } from './metadata.js';

type Adapter = ResumableConnectConnectionAdapter;
type Messages = Parameters<Adapter['connect']>[0];
type DeclaredTool = NonNullable<
  NonNullable<Parameters<Adapter['connect']>[3]>['clientTools']
>[number];
type Chunk = ReturnType<Adapter['connect']> extends AsyncIterable<infer Event> ? Event : never;

export interface RivuletConnection extends Adapter {
  /**
   * Cancels the running answer of a chat for all who read it, also while a call waits. Call it before the `stop()` of
   * `useChat`.
   */
  stop(threadId: string): void;
}

/** The name of the custom event that says that a message is void, since the text begins again in another. */
const RESTART = 'rivulet-restart';
const FALLBACK_THREAD = 'thread';
const FILES = new Set(['image', 'audio', 'video', 'document']);

/**
 * A connection for `useChat` of TanStack AI. With a `persistence` that keeps messages, the running answer is read on
 * after a reload and in another tab. `useChat` aborts alike when it is stopped and when its view is unmounted, so an
 * abort releases the answer: the server ends it two seconds later unless someone reads it by then. `stop(threadId)`,
 * called first, ends it at once. A failure is the `error` of `useChat`, with the `code` of a `StreamError`. Files and system
 * messages are refused with the code `unsupported`.
 *
 * @example useChat({ threadId, connection: createConnection(client), persistence: localStoragePersistence() })
 */
export function createConnection(client: Client, options: BridgeOptions = {}): RivuletConnection {
  const answers = new ChatAnswers(client, threadOf);

  async function* read(
    answer: Answer,
    run: Run,
    signal: AbortSignal | undefined,
    how: Reading,
  ): AsyncGenerator<Chunk> {
    const release = (): void => answer.release();
    signal?.addEventListener('abort', release, { once: true });
    if (signal?.aborted) release();
    answers.add(run.threadId, answer);
    for await (const event of eventsOf(answer, run, how)) yield event as unknown as Chunk;
  }

  return {
    async *connect(messages, _data, signal, context) {
      const { threadId = FALLBACK_THREAD, runId = randomId() } = context ?? {};
      const run = { threadId, runId };
      const declared = (context?.clientTools ?? []).map(toolOf);
      const tools = [...(options.tools ?? []), ...declared];
      const replied = repliesIn(messages);
      if (replied !== undefined) {
        const { answerId, replies } = replied;
        return yield* read(client.resume(answerId, { tools }), run, signal, {
          tools,
          replies,
          attempt: attemptOf(messages.at(-1)?.id ?? ''),
        });
      }
      cancelWaiting(client, messages.flatMap(waitingIn));
      const request = requestOf(contextOf(messages), sessionOf(run), { ...options, tools });
      yield* read(client.start(request), run, signal, { tools });
    },
    async *joinRun(runId, signal) {
      const { tools } = options;
      let threadId = FALLBACK_THREAD;
      const answer = await findAnswer(
        client,
        (session) => {
          if (!session.endsWith(` ${runId}`)) return false;
          threadId = session.slice(0, -runId.length - 1);
          return true;
        },
        { tools },
      );
      if (answer === undefined) throw new Error('unable to continue: the answer is not running');
      yield* read(answer, { threadId, runId }, signal, { tools });
    },
    stop: (threadId) => void answers.cancel(threadId),
  };
}

/** Names the chat and the run, so that either finds the answer. */
const sessionOf = ({ threadId, runId }: Run): string => `${threadId} ${runId}`;
/** Ids of runs have no space. */
const threadOf = (sessionId: string): string => sessionId.slice(0, sessionId.lastIndexOf(' '));

/** The whole answer is one message for each attempt. */
function eventsOf(
  answer: Answer,
  run: Run,
  reading: Reading,
): AsyncGenerator<AgUiEvent, void, undefined> {
  const style: EventStyle = {
    messageId: (attempt) => messageIdOf(answer, attempt),
    finished: (finishReason) => (finishReason === 'other' ? {} : { finishReason }),
    restart: ({ start, tools, ...restart }, messageId) => {
      const replaced = messageIdOf(answer, restart.replaced);
      const value = { replaced, messageId, reason: start.reason };
      return [
        { type: 'CUSTOM', name: RESTART, value },
        { type: 'TEXT_MESSAGE_START', messageId, role: 'assistant' },
        ...tools.flatMap((step) => [...toolEvents(answer, step, messageId)]),
      ];
    },
    tool: (step, messageId) => toolEvents(answer, step, messageId),
    paused: (waiting) => ({
      events: waiting.map((use) => waitingEvent(answer, use)),
      finished: { finishReason: 'tool_calls' },
    }),
  };
  return agUiEvents(answer, run, style, reading);
}

/** A call that waits for the page. */
function waitingEvent(
  answer: Answer,
  { callId, name, arguments: input, awaits }: ToolUse,
): AgUiEvent {
  const toolCallId = toolCallIdOf(answer, callId);
  const value = { toolCallId, toolName: name, input };
  if (awaits === 'result') return { type: 'CUSTOM', name: 'tool-input-available', value };
  const approval = { id: toolCallId, needsApproval: true };
  return { type: 'CUSTOM', name: 'approval-requested', value: { ...value, approval } };
}

const toolOf = ({ name, description, parameters }: DeclaredTool): ClientTool => ({
  name,
  description,
  parameters: { jsonSchema: parameters as Record<string, unknown> },
});

/** @returns the replies of the page to the calls of an answer that waits; undefined for any other message. */
function repliesIn(messages: Messages): CallReplies | undefined {
  const last = messages.at(-1);
  if (last?.role !== 'assistant' || !('parts' in last)) return undefined;
  return repliesOf(
    last.parts.flatMap((part): [string, ToolReply][] => {
      if (part.type !== 'tool-call') return [];
      const { id, approval, output, state } = part;
      if (approval?.approved !== undefined) return [[id, { approved: approval.approved }]];
      if (output === undefined) return [];
      if (state !== 'error') return [[id, { result: output }]];
      return [[id, { error: String((output as { error?: unknown }).error) }]];
    }),
  );
}

/** @returns the calls that nobody has answered. */
function waitingIn(message: Messages[number]): string[] {
  if (message.role !== 'assistant' || !('parts' in message)) return [];
  const { parts } = message;
  const done = new Set(parts.map((part) => part.type === 'tool-result' && part.toolCallId));
  return parts.flatMap((part) =>
    part.type === 'tool-call' && part.output === undefined && !done.has(part.id) ? [part.id] : [],
  );
}

/**
 * The messages without those of which the text began again in another one. They are to be shown in place of the
 * messages of `useChat`.
 */
export function shownMessages<Message extends { id: string }>(
  messages: readonly Message[],
): Message[] {
  return messages.filter(
    ({ id }, at) => !messages.slice(at + 1).some((later) => replaces(later.id, id)),
  );
}

const messageIdOf = ({ id }: Answer, attempt: number): string => `${id}:${attempt}`;
const attemptOf = (messageId: string): number => Number(messageId.split(':')[1]);

/** @throws {StreamError} unsupported */
function contextOf(messages: Messages): ContextMessage[] {
  return messages.flatMap((message, at): ContextMessage[] => {
    const { role, id = '' } = message;
    if (role === 'tool' || messages.slice(at + 1).some((later) => replaces(later.id ?? '', id)))
      return [];
    if (role === 'system') refuse('a system message', 'the server sets it, in `prepare`');
    const parts = 'parts' in message ? message.parts : message.content;
    return [{ role, content: typeof parts === 'string' ? parts : textOf(parts ?? []) }];
  });
}

function textOf(parts: readonly { type: string; content?: unknown }[]): string {
  return parts.reduce((text, { type, content }) => {
    if (FILES.has(type)) refuse('a file', 'a question is text');
    return type === 'text' && typeof content === 'string' ? text + content : text;
  }, '');
}

/** @returns true for two attempts of one answer, of which `later` is the newer. */
function replaces(later: string, earlier: string): boolean {
  const [id, attempt] = earlier.split(':');
  const [laterId, laterAttempt] = later.split(':');
  return attempt !== undefined && id === laterId && Number(laterAttempt) > Number(attempt);
}
