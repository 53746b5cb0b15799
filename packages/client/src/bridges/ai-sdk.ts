import type { ContextMessage } from '@rivulet/protocol';
import type { ChatTransport, UIMessage, UIMessageChunk } from 'ai';
import type { Answer, Client, ToolReply } from '../types.js';
import { type CallReplies, cancelWaiting, repliesOf, toolCallIdOf } from './calls.js';
import { ChatAnswers } from './chat-answers.js';
import { type BridgeOptions, findAnswer, refuse, requestOf } from './conversation.js';
import { type AnswerMetadata, metadataOf } from './metadata.js';
import { type Reading, stepsOf, type ToolStep } from './steps.js';

export type { AnswerMetadata } from './metadata.js';
export type { BridgeOptions } from './conversation.js';

/** The type of the part that says that the text begins again: all text and reasoning before it is void. */
const RESTART = 'data-rivulet-restart';

export interface RivuletTransport<
  Message extends UIMessage = UIMessage,
> extends ChatTransport<Message> {
  /**
   * Cancels the running answer of a chat for all who read it. While a call waits, `useChat` has no request that its
   * `stop()` could end, and this method ends the answer.
   */
  stop(chatId: string): void;
}

/**
 * A transport for `useChat` of the AI SDK 6 and 7. Stop cancels the answer for all who read it; `resume: true` reads
 * on the running answer of the chat's id after a reload, in another tab and on another device. A failure is the
 * `error` of `useChat`, as a `StreamError`. Files and system messages are refused with the code `unsupported`. A call
 * that waits for the page ends the request; the outputs and approvals that `useChat` sends continue the same answer.
 *
 * @example useChat({ id, transport: createChatTransport(client), resume: true })
 */
export function createChatTransport<Message extends UIMessage = UIMessage>(
  client: Client,
  options: BridgeOptions = {},
): RivuletTransport<Message> {
  const { tools } = options;
  const answers = new ChatAnswers(client, (sessionId) => sessionId);
  /** The newest request of each chat. */
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
    chatId: string,
    { isNewest, end }: ReturnType<typeof begin>,
    signal: AbortSignal | undefined,
    shown: Shown = {},
  ): ReadableStream<UIMessageChunk> {
    const abort = (): void =>
      queueMicrotask(() => {
        if (isNewest()) answer.cancel();
        else answer.release();
      });
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
    answer.result.then(end, end);
    answers.add(chatId, answer);
    const chunks = chunksOf(answer, { tools, ...shown });
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
      const last = messages.at(-1);
      const replied = last && repliesIn(last);
      if (last !== undefined && replied !== undefined) {
        const answer = client.resume(replied.answerId, { tools });
        return read(answer, chatId, begin(chatId), abortSignal, {
          replies: replied.replies,
          attempt: (last.metadata as Partial<AnswerMetadata> | undefined)?.attempt,
          stepCalls: lastCalls(last).map(({ toolCallId }) => toolCallId),
        });
      }
      const request = requestOf(messages.map(contextOf), chatId, options);
      const isRepeated = trigger === 'regenerate-message';
      cancelWaiting(client, messages.flatMap(waitingIn));
      const answer = client.start({
        ...request,
        options: { ...request.options, ...(isRepeated && { cache: 'reload' }) },
      });
      return read(answer, chatId, begin(chatId), abortSignal);
    },
    async reconnectToStream({ chatId, abortSignal }) {
      const request = begin(chatId);
      const answer = await findAnswer(client, (sessionId) => sessionId === chatId, { tools });
      if (answer !== undefined && request.isNewest()) {
        if (!abortSignal?.aborted) return read(answer, chatId, request, abortSignal);
        answer.cancel();
      }
      answer?.release();
      request.end();
      return null;
    },
    stop: (chatId) => void answers.cancel(chatId),
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

/** @returns the parts of the calls that came last. */
function lastCalls({ role, parts }: UIMessage): ToolPart[] {
  if (role !== 'assistant') return [];
  const stepAt = parts.findLastIndex(({ type }) => type === 'step-start');
  return parts.slice(stepAt + 1).filter((part) => 'toolCallId' in part) as ToolPart[];
}

type ToolPart = Extract<UIMessage['parts'][number], { toolCallId: string }>;

/** @returns the replies of the page to the calls of an answer that waits; undefined for any other message. */
function repliesIn(message: UIMessage): CallReplies | undefined {
  return repliesOf(
    lastCalls(message).flatMap((part): [string, ToolReply][] => {
      const { toolCallId, state } = part;
      if (state === 'approval-responded') {
        return [[toolCallId, { approved: part.approval.approved }]];
      }
      if (state === 'output-error') return [[toolCallId, { error: part.errorText }]];
      return state === 'output-available' ? [[toolCallId, { result: part.output }]] : [];
    }),
  );
}

/** @returns the calls that nobody has answered. */
function waitingIn(message: UIMessage): string[] {
  return lastCalls(message).flatMap(({ toolCallId, state, providerExecuted }) => {
    const isWaiting = state === 'approval-requested' || state === 'approval-responded';
    const isForPage = state === 'input-available' && providerExecuted !== true;
    return isWaiting || isForPage ? [toolCallId] : [];
  });
}

/** The part of an answer that the page shows when it continues the answer. */
interface Shown extends Pick<Reading, 'replies' | 'attempt'> {
  /** The ids of the calls of the step that came last. */
  stepCalls?: readonly string[];
}

async function* chunksOf(
  answer: Answer,
  { stepCalls, ...reading }: Reading & Shown,
): AsyncGenerator<UIMessageChunk, void, undefined> {
  /** The calls of the step that is shown. Version 7 removes no more than a step where the text begins again. */
  let calls = new Set(stepCalls);
  /** True once a call has its reply: what comes then is another step, which no reply belongs to. */
  let isStepOver = false;

  function* beginStep(): Generator<UIMessageChunk> {
    if (!isStepOver) return;
    isStepOver = false;
    calls = new Set();
    yield { type: 'start-step' };
  }

  for await (const step of stepsOf(answer, reading)) {
    switch (step.type) {
      case 'start':
        yield { type: 'start', messageId: answer.id, messageMetadata: metadataOf(answer) };
        break;
      case 'restart': {
        const { attempt, reason } = step.start;
        // Version 7 removes what was shown; version 6 does not know `reset-step`, and keeps it.
        yield { type: 'reset-step' };
        yield { type: RESTART, data: { attempt, ...(reason !== undefined && { reason }) } };
        for (const tool of step.tools) {
          if (calls.has(toolCallIdOf(answer, tool.event.callId))) yield* toolChunks(answer, tool);
        }
        yield { type: 'message-metadata', messageMetadata: metadataOf(answer) };
        break;
      }
      case 'queued':
        yield { type: 'data-rivulet-queued', data: { ahead: step.ahead }, transient: true };
        break;
      case 'loading': {
        const { provider, model } = step;
        yield { type: 'data-rivulet-loading', data: { provider, model }, transient: true };
        break;
      }
      case 'open':
      case 'close': {
        if (step.type === 'open') yield* beginStep();
        const name = step.kind === 'text' ? 'text' : 'reasoning';
        yield { type: `${name}-${step.type === 'open' ? 'start' : 'end'}`, id: step.part };
        break;
      }
      case 'delta': {
        const name = step.kind === 'text' ? 'text' : 'reasoning';
        yield { type: `${name}-delta`, id: step.part, delta: step.text };
        break;
      }
      case 'tool': {
        const { event, reply } = step;
        if (event.type === 'tool_call') {
          yield* beginStep();
          calls.add(toolCallIdOf(answer, event.callId));
        } else if (reply !== undefined) isStepOver = true;
        yield* toolChunks(answer, step);
        break;
      }
      case 'paused': {
        const messageMetadata = metadataOf(answer);
        yield { type: 'finish', finishReason: 'tool-calls', messageMetadata };
        break;
      }
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

/** A call that waits for the page is passed to `onToolCall`, and no other. */
function* toolChunks(
  answer: Answer,
  { event, reply, isWaiting, isDenied }: ToolStep,
): Generator<UIMessageChunk> {
  const toolCallId = toolCallIdOf(answer, event.callId);
  if (event.type === 'tool_call') {
    const { name: toolName, arguments: input } = event;
    if (reply === 'result' && !isWaiting) {
      yield { type: 'tool-input-start', toolCallId, toolName };
      yield { type: 'tool-input-delta', toolCallId, inputTextDelta: JSON.stringify(input) };
      return;
    }
    yield {
      type: 'tool-input-available',
      toolCallId,
      toolName,
      input,
      ...(reply !== 'result' && { providerExecuted: true }),
    };
    if (isWaiting && reply === 'approval') {
      yield { type: 'tool-approval-request', approvalId: toolCallId, toolCallId };
    }
    return;
  }
  if (isDenied) return yield { type: 'tool-output-denied', toolCallId };
  const { result, error } = event;
  yield error === undefined
    ? { type: 'tool-output-available', toolCallId, output: result }
    : { type: 'tool-output-error', toolCallId, errorText: error };
}
