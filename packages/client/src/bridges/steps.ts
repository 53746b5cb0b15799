import { StreamError } from '@rivulet/protocol';
import type { Answer, ResponseEvent, ToolCallEvent, ToolResultEvent } from '../types.js';

type Start = Extract<ResponseEvent, { type: 'start' }>;
type End = Extract<ResponseEvent, { type: 'end' }>;

/**
 * One thing that a view is told of an answer, where the view's protocol wants each text and each thought opened
 * and closed. `part` numbers them from 1 within the answer; at most one is open at a time.
 */
export type Step =
  | Start
  /** The text begins again. `tools` are the calls and results so far, which stay valid. */
  | { type: 'restart'; start: Start; tools: readonly (ToolCallEvent | ToolResultEvent)[] }
  | { type: 'open' | 'close'; kind: 'text' | 'thought'; part: number }
  | { type: 'delta'; kind: 'text' | 'thought'; part: number; text: string }
  | ToolCallEvent
  | ToolResultEvent
  | End
  /** Someone cancelled the answer. */
  | { type: 'stopped' };

/**
 * All steps of an answer, from the start of its attempt on. The handle is released when the caller leaves the loop.
 *
 * @throws {StreamError} when the answer failed, after the last step.
 */
export async function* stepsOf(answer: Answer): AsyncGenerator<Step, void, undefined> {
  const tools: (ToolCallEvent | ToolResultEvent)[] = [];
  let isStarted = false;
  let part = 0;
  let open: 'text' | 'thought' | undefined;

  function* close(): Generator<Step> {
    if (open !== undefined) yield { type: 'close', kind: open, part };
    open = undefined;
  }

  try {
    for await (const event of answer) {
      switch (event.type) {
        case 'queued':
        case 'loading':
        case 'tool_decision':
          break;
        case 'text':
        case 'thought': {
          const { type: kind, text } = event;
          if (open !== kind) {
            yield* close();
            part += 1;
            open = kind;
            yield { type: 'open', kind, part };
          }
          yield { type: 'delta', kind, part, text };
          break;
        }
        case 'start':
          yield* close();
          yield isStarted ? { type: 'restart', start: event, tools: [...tools] } : event;
          isStarted = true;
          break;
        case 'tool_call':
        case 'tool_result':
          yield* close();
          tools.push(event);
          yield event;
          break;
        case 'end':
          yield* close();
          yield event;
      }
    }
  } catch (error) {
    yield* close();
    if (!(error instanceof StreamError && error.code === 'cancelled')) throw error;
    yield { type: 'stopped' };
  } finally {
    answer.release();
  }
}
