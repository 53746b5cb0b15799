import type { FinishReason } from '@rivulet/protocol';
import type { Answer, ToolResultEvent, ToolUse } from '../types.js';
import { toolCallIdOf } from './calls.js';
import { metadataOf } from './metadata.js';
import { type Reading, type Step, stepsOf, type ToolStep } from './steps.js';

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
  /** The id of the message that has a text of an attempt; `part` names it there. */
  messageId(attempt: number, part: string): string;
  /** Fields of the event that ends a run, apart from those of AG-UI. */
  finished(finishReason: FinishReason): object;
  /** The events that say that the text begins again. The thoughts so far are void, too. */
  restart(
    step: Extract<Step, { type: 'restart' }>,
    messageId: string,
    thoughtIds: readonly string[],
  ): AgUiEvent[];
  /** The events of a call or a result. */
  tool(step: ToolStep, messageId: string): Iterable<AgUiEvent>;
  /** The events that say that calls wait for the page, apart from the end of the run, and fields of that. */
  paused(waiting: readonly ToolUse[]): { events: readonly AgUiEvent[]; finished: object };
  /** The message of a thought that is void, and is used for the next thought. */
  spareThoughtId?: string | undefined;
}

/** The events of one answer as a run, from the start of its attempt on. A failure is the last event, `RUN_ERROR`. */
export async function* agUiEvents(
  answer: Answer,
  { threadId, runId }: Run,
  style: EventStyle,
  reading: Reading,
): AsyncGenerator<AgUiEvent, void, undefined> {
  const run: Run = { threadId, runId };
  let attempt = 1;
  /** The id of the message to which the calls belong. */
  let messageId = style.messageId(attempt, '0');
  let thoughtIds: string[] = [];
  let { spareThoughtId } = style;
  yield { type: 'RUN_STARTED', ...run };
  try {
    for await (const step of stepsOf(answer, reading)) {
      switch (step.type) {
        case 'start':
          attempt = step.attempt;
          messageId = style.messageId(attempt, '0');
          break;
        case 'restart':
          attempt = step.start.attempt;
          messageId = style.messageId(attempt, '0');
          yield* style.restart(step, messageId, thoughtIds);
          spareThoughtId ??= thoughtIds[0];
          thoughtIds = [];
          break;
        case 'queued':
          yield { type: 'CUSTOM', name: 'rivulet-queued', value: { ahead: step.ahead } };
          break;
        case 'loading': {
          const { provider, model } = step;
          yield { type: 'CUSTOM', name: 'rivulet-loading', value: { provider, model } };
          break;
        }
        case 'open':
          if (step.kind === 'text') {
            messageId = style.messageId(attempt, step.part);
            const metadata = { rivulet: metadataOf(answer) };
            yield { type: 'TEXT_MESSAGE_START', messageId, role: 'assistant', metadata };
          } else {
            const thoughtId = spareThoughtId ?? `${answer.id}:thought:${attempt}.${step.part}`;
            spareThoughtId = undefined;
            thoughtIds.push(thoughtId);
            yield { type: 'REASONING_START', messageId: thoughtId };
            yield { type: 'REASONING_MESSAGE_START', messageId: thoughtId, role: 'reasoning' };
          }
          break;
        case 'delta':
          yield step.kind === 'text'
            ? { type: 'TEXT_MESSAGE_CONTENT', messageId, delta: step.text }
            : {
                type: 'REASONING_MESSAGE_CONTENT',
                messageId: thoughtIds.at(-1),
                delta: step.text,
              };
          break;
        case 'close':
          if (step.kind === 'text') yield { type: 'TEXT_MESSAGE_END', messageId };
          else {
            const thoughtId = thoughtIds.at(-1);
            yield { type: 'REASONING_MESSAGE_END', messageId: thoughtId };
            yield { type: 'REASONING_END', messageId: thoughtId };
          }
          break;
        case 'tool':
          yield* style.tool(step, messageId);
          break;
        case 'paused': {
          const { events, finished } = style.paused(step.waiting);
          yield* events;
          const metadata = { rivulet: metadataOf(answer) };
          yield { type: 'RUN_FINISHED', ...run, ...finished, metadata };
          break;
        }
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

/** The events of a call, or of a result. */
export function* toolEvents(
  answer: Answer,
  { event }: ToolStep,
  parentMessageId: string,
): Generator<AgUiEvent> {
  const toolCallId = toolCallIdOf(answer, event.callId);
  if (event.type === 'tool_call') {
    const delta = JSON.stringify(event.arguments) ?? '';
    yield { type: 'TOOL_CALL_START', toolCallId, toolCallName: event.name, parentMessageId };
    yield { type: 'TOOL_CALL_ARGS', toolCallId, delta };
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

/** @returns an id that begins with the id of the answer, and differs in each attempt. */
export const resultIdOf = ({ callId }: ToolResultEvent, parentMessageId: string): string =>
  `${parentMessageId}:${callId}`;

/** TanStack AI takes a failure from `state`, AG-UI from `error`. */
export function resultOf({ result, error }: ToolResultEvent): { content: string } {
  if (error === undefined) return { content: JSON.stringify(result) ?? '' };
  const failed = { content: JSON.stringify({ error }), error, state: 'output-error' };
  return failed;
}
