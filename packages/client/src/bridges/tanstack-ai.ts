import type { ContextMessage } from '@rivulet/protocol';
import type { ResumableConnectConnectionAdapter } from '@tanstack/ai-client';
import { randomId } from '../random-id.js';
import type { Answer, Client } from '../types.js';
import { type AgUiEvent, agUiEvents, type Run, toolEvents } from './ag-ui-events.js';
import { type BridgeOptions, findAnswer, refuse, requestOf } from './conversation.js';

export type { BridgeOptions } from './conversation.js';
export type { AnswerMetadata } from './metadata.js';

type Adapter = ResumableConnectConnectionAdapter;
type Messages = Parameters<Adapter['connect']>[0];
type Chunk = ReturnType<Adapter['connect']> extends AsyncIterable<infer Event> ? Event : never;

export interface RivuletConnection extends Adapter {
  /** Cancels the answer that a chat of this page reads, for all who read it. Call it before the `stop()` of `useChat`. */
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
  /** The answers that are read here, by their chat. */
  const reading = new Map<Answer, string>();

  async function* read(
    answer: Answer,
    run: Run,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Chunk> {
    const release = (): void => answer.release();
    signal?.addEventListener('abort', release, { once: true });
    if (signal?.aborted) release();
    reading.set(answer, run.threadId);
    try {
      for await (const event of eventsOf(answer, run)) yield event as unknown as Chunk;
    } finally {
      reading.delete(answer);
    }
  }

  return {
    async *connect(messages, _data, signal, context) {
      const { threadId = FALLBACK_THREAD, runId = randomId() } = context ?? {};
      const run = { threadId, runId };
      const request = requestOf(contextOf(messages), sessionOf(run), options);
      yield* read(client.start(request), run, signal);
    },
    async *joinRun(runId, signal) {
      let threadId = FALLBACK_THREAD;
      const answer = await findAnswer(client, (session) => {
        if (!session.endsWith(` ${runId}`)) return false;
        threadId = session.slice(0, -runId.length - 1);
        return true;
      });
      if (answer === undefined) throw new Error('unable to continue: the answer is not running');
      yield* read(answer, { threadId, runId }, signal);
    },
    stop(threadId) {
      for (const [answer, of] of reading) if (of === threadId) answer.cancel();
    },
  };
}

/** Names the chat and the run, so that either finds the answer. */
const sessionOf = ({ threadId, runId }: Run): string => `${threadId} ${runId}`;

/** The whole answer is one message for each attempt. */
function eventsOf(answer: Answer, run: Run): AsyncGenerator<AgUiEvent, void, undefined> {
  let [before, newest] = [1, 1];
  return agUiEvents(answer, run, {
    messageId(attempt) {
      if (attempt !== newest) [before, newest] = [newest, attempt];
      return messageIdOf(answer, attempt);
    },
    finished: (finishReason) => (finishReason === 'other' ? {} : { finishReason }),
    restart: ({ start, tools }, messageId) => {
      const replaced = messageIdOf(answer, before);
      const value = { replaced, messageId, reason: start.reason };
      return [
        { type: 'CUSTOM', name: RESTART, value },
        { type: 'TEXT_MESSAGE_START', messageId, role: 'assistant' },
        ...tools.flatMap((event) => [...toolEvents(event, messageId)]),
      ];
    },
  });
}

const messageIdOf = ({ id }: Answer, attempt: number): string => `${id}:${attempt}`;

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
