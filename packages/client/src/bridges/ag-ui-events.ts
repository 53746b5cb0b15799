import type { FinishReason } from '@rivulet/protocol';
import type { Answer, ToolCallEvent, ToolResultEvent } from '../types.js';
import { metadataOf } from './metadata.js';
import { type Step, stepsOf } from './steps.js';

/** An event of AG-UI, which TanStack AI reads, too. */
export interface AgUiEvent {
  type: string;
  [field: string]: unknown;
}

export interface Run {
  threadId: string;
  runId: string;
}

export interface EventStyle {
  /** The id of the message that has a text or a thought of an attempt; `part` numbers them from 1. */
  messageId(attempt: number, part: number): string;
  /** Fields of the event that ends a run, apart from those of AG-UI. */
  finished(finishReason: FinishReason): object;
  /** The events that say that the text begins again. */
  restart(step: Extract<Step, { type: 'restart' }>, messageId: string): AgUiEvent[];
}

/** The events of one answer as a run, from the start of its attempt on. A failure is the last event, `RUN_ERROR`. */
export async function* agUiEvents(
  answer: Answer,
  { threadId, runId }: Run,
  style: EventStyle,
): AsyncGenerator<AgUiEvent, void, undefined> {
  const run: Run = { threadId, runId };
  let attempt = 1;
  /** Of the message that calls belong to. */
  let messageId = style.messageId(attempt, 0);
  yield { type: 'RUN_STARTED', ...run };
  try {
    for await (const step of stepsOf(answer)) {
      switch (step.type) {
        case 'start':
          attempt = step.attempt;
          messageId = style.messageId(attempt, 0);
          break;
        case 'restart':
          attempt = step.start.attempt;
          messageId = style.messageId(attempt, 0);
          yield* style.restart(step, messageId);
          break;
        case 'open':
          if (step.kind === 'text') {
            messageId = style.messageId(attempt, step.part);
            const metadata = { rivulet: metadataOf(answer) };
            yield { type: 'TEXT_MESSAGE_START', messageId, role: 'assistant', metadata };
          } else {
            const thoughtId = thoughtIdOf(answer, step.part);
            yield { type: 'REASONING_START', messageId: thoughtId };
            yield { type: 'REASONING_MESSAGE_START', messageId: thoughtId, role: 'reasoning' };
          }
          break;
        case 'delta':
          yield step.kind === 'text'
            ? { type: 'TEXT_MESSAGE_CONTENT', messageId, delta: step.text }
            : {
                type: 'REASONING_MESSAGE_CONTENT',
                messageId: thoughtIdOf(answer, step.part),
                delta: step.text,
              };
          break;
        case 'close':
          if (step.kind === 'text') yield { type: 'TEXT_MESSAGE_END', messageId };
          else {
            const thoughtId = thoughtIdOf(answer, step.part);
            yield { type: 'REASONING_MESSAGE_END', messageId: thoughtId };
            yield { type: 'REASONING_END', messageId: thoughtId };
          }
          break;
        case 'tool_call':
        case 'tool_result':
          yield* toolEvents(step, messageId);
          break;
        case 'end': {
          const { finishReason } = step;
          const result = { ...metadataOf(answer), finishReason };
          yield {
            type: 'RUN_FINISHED',
            ...run,
            ...style.finished(finishReason),
            result,
            metadata: { rivulet: result },
          };
          break;
        }
        case 'stopped':
          yield { type: 'RUN_FINISHED', ...run, outcome: { type: 'cancelled' } };
      }
    }
  } catch (error) {
    const { message, code } = error as { message: string; code?: string };
    yield { type: 'RUN_ERROR', ...run, message, ...(code !== undefined && { code }) };
  }
}

/** The call, or the result, of a tool that ran at the server. */
export function* toolEvents(
  event: ToolCallEvent | ToolResultEvent,
  parentMessageId: string,
): Generator<AgUiEvent> {
  const { callId: toolCallId, name: toolCallName } = event;
  if (event.type === 'tool_call') {
    yield { type: 'TOOL_CALL_START', toolCallId, toolCallName, parentMessageId };
    yield { type: 'TOOL_CALL_ARGS', toolCallId, delta: JSON.stringify(event.arguments) ?? '' };
    yield { type: 'TOOL_CALL_END', toolCallId };
    return;
  }
  yield {
    type: 'TOOL_CALL_RESULT',
    messageId: resultIdOf(event, parentMessageId),
    toolCallId,
    role: 'tool',
    ...resultOf(event),
  };
}

/** It begins with the id of the answer, and differs in each attempt. */
export const resultIdOf = ({ callId }: ToolResultEvent, parentMessageId: string): string =>
  `${parentMessageId}:${callId}`;

/** TanStack AI takes a failure from `state`, AG-UI from `error`. */
export function resultOf({ result, error }: ToolResultEvent): { content: string } {
  if (error === undefined) return { content: JSON.stringify(result) ?? '' };
  const failed = { content: JSON.stringify({ error }), error, state: 'output-error' };
  return failed;
}

const thoughtIdOf = ({ id }: Answer, part: number): string => `${id}:thought:${part}`;
