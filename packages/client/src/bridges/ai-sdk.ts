import type { ContextMessage } from '@rivulet/protocol';
import type { ChatTransport, UIMessage, UIMessageChunk } from 'ai';
import type { Answer, Client, ToolCallEvent, ToolResultEvent } from '../types.js';
import { type BridgeOptions, findAnswer, refuse, requestOf } from './conversation.js';
import { metadataOf } from './metadata.js';
import { stepsOf } from './steps.js';

export type { AnswerMetadata } from './metadata.js';
export type { BridgeOptions } from './conversation.js';

/** The type of the part that says that the text begins again: all text and reasoning before it is void. */
const RESTART = 'data-rivulet-restart';

/**
 * A transport for `useChat` of the AI SDK 6 and 7. Stop cancels the answer for all who read it; `resume: true` reads
 * on the running answer of the chat's id after a reload, in another tab and on another device. A failure is the
 * `error` of `useChat`, as a `StreamError`. Files and system messages are refused with the code `unsupported`.
 *
 * @example useChat({ id, transport: createChatTransport(client), resume: true })
 */
export function createChatTransport<Message extends UIMessage = UIMessage>(
  client: Client,
  options: BridgeOptions = {},
): ChatTransport<Message> {
  /** Of each chat, the newest request. */
  const requests = new Map<string, symbol>();

  function begin(chatId: string) {
    const request = Symbol(chatId);
    const isNewest = (): boolean => requests.get(chatId) === request;
    requests.set(chatId, request);
    return {
      isNewest,
      end: () => void (isNewest() && requests.delete(chatId)),
    };
  }

  /** A reader of the answer. An abort cancels the answer, unless the chat begins to read it again at once. */
  function read(
    answer: Answer,
    { isNewest, end }: ReturnType<typeof begin>,
    signal: AbortSignal | undefined,
  ): ReadableStream<UIMessageChunk> {
    const abort = (): void =>
      queueMicrotask(() => {
        if (isNewest()) answer.cancel();
        else answer.release();
      });
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
    answer.result.then(end, end);
    const chunks = chunksOf(answer);
    return new ReadableStream<UIMessageChunk>(
      {
        async pull(controller) {
          const { done, value } = await chunks.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel() {
          if (!signal?.aborted) answer.release();
        },
      },
      // A failure must not overtake the text before it.
      { highWaterMark: 0 },
    );
  }

  return {
    resumeStreamIsReplay: true,
    async sendMessages({ chatId, messages, trigger, abortSignal }) {
      const request = requestOf(messages.map(contextOf), chatId, options);
      const isRepeated = trigger === 'regenerate-message';
      const answer = client.start({
        ...request,
        options: { ...request.options, ...(isRepeated && { cache: 'reload' }) },
      });
      return read(answer, begin(chatId), abortSignal);
    },
    async reconnectToStream({ chatId, abortSignal }) {
      const request = begin(chatId);
      const answer = await findAnswer(client, (sessionId) => sessionId === chatId);
      if (answer !== undefined && request.isNewest() && !abortSignal?.aborted) {
        return read(answer, request, abortSignal);
      }
      answer?.release();
      request.end();
      return null;
    },
  };
}

/** @throws {StreamError} unsupported */
function contextOf({ role, parts }: UIMessage): ContextMessage {
  if (role === 'system') refuse('a system message', 'the server sets it, in `prepare`');
  const restartedAt = parts.findLastIndex(({ type }) => type === RESTART);
  let content = '';
  for (const part of parts.slice(restartedAt + 1)) {
    if (part.type === 'file') refuse('a file', 'a question is text');
    if (part.type === 'text') content += part.text;
  }
  return { role, content };
}

async function* chunksOf(answer: Answer): AsyncGenerator<UIMessageChunk, void, undefined> {
  for await (const step of stepsOf(answer)) {
    switch (step.type) {
      case 'start':
        yield { type: 'start', messageId: answer.id, messageMetadata: metadataOf(answer) };
        break;
      case 'restart': {
        const { attempt, reason } = step.start;
        // Version 7 removes what was shown; version 6 does not know `reset-step`, and keeps it.
        yield { type: 'reset-step' };
        yield { type: RESTART, data: { attempt, ...(reason !== undefined && { reason }) } };
        for (const event of step.tools) yield toolChunk(event);
        yield { type: 'message-metadata', messageMetadata: metadataOf(answer) };
        break;
      }
      case 'open':
      case 'close': {
        const name = step.kind === 'text' ? 'text' : 'reasoning';
        yield { type: `${name}-${step.type === 'open' ? 'start' : 'end'}`, id: `${step.part}` };
        break;
      }
      case 'delta': {
        const name = step.kind === 'text' ? 'text' : 'reasoning';
        yield { type: `${name}-delta`, id: `${step.part}`, delta: step.text };
        break;
      }
      case 'tool_call':
      case 'tool_result':
        yield toolChunk(step);
        break;
      case 'end': {
        const messageMetadata = metadataOf(answer);
        yield { type: 'finish', finishReason: step.finishReason, messageMetadata };
        break;
      }
      case 'stopped':
        yield { type: 'abort' };
    }
  }
}

/** The tool has run at the server. */
function toolChunk(event: ToolCallEvent | ToolResultEvent): UIMessageChunk {
  const call = { toolCallId: event.callId, providerExecuted: true };
  if (event.type === 'tool_call') {
    const { name: toolName, arguments: input } = event;
    return { type: 'tool-input-available', ...call, toolName, input };
  }
  const { result, error } = event;
  if (error !== undefined) return { type: 'tool-output-error', ...call, errorText: error };
  return { type: 'tool-output-available', ...call, output: result };
}
