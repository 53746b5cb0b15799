import type { ErrorCode } from '@rivulet/protocol';
import type { ResponseEvent } from '../types.js';

type EventOf<Type extends ResponseEvent['type']> = Extract<ResponseEvent, { type: Type }>;

/**
 * One thing that happens to a scripted answer. Every `ResponseEvent` is one, but less will do: the
 * first `start` comes by itself, a further one begins the text again.
 */
export type Step = {
  /** Milliseconds after the step before; 0 unless given. */
  readonly afterMs?: number;
} & (
  | Readonly<
      | (Pick<EventOf<'start'>, 'type'> & Partial<EventOf<'start'>>)
      | (Pick<EventOf<'end'>, 'type'> & Partial<EventOf<'end'>>)
      | EventOf<'text' | 'thought' | 'queued' | 'loading' | 'tool_decision' | 'tool_result'>
      /** A call with `awaits` stops the script until `reply` has answered it. */
      | EventOf<'tool_call'>
    >
  /** The answer fails; with the code `cancelled` it was cancelled by someone else. */
  | {
      readonly type: 'error';
      readonly code: ErrorCode;
      readonly message?: string;
      readonly retryable?: boolean;
      readonly retryAfterMs?: number;
    }
  /** The connection is away until the next step. */
  | { readonly type: 'reconnecting' }
);

/** The steps of a mock answer, in order. Without `end` or `error` the answer stalls. Plain JSON. */
export type Script = readonly Step[];

const TYPES: Record<Step['type'], true> = {
  start: true,
  text: true,
  thought: true,
  queued: true,
  loading: true,
  tool_call: true,
  tool_decision: true,
  tool_result: true,
  reconnecting: true,
  error: true,
  end: true,
};

const TYPE_NAMES = Object.keys(TYPES).join(', ');

/** @returns the script. @throws {TypeError} a step has an unknown type. */
export function checkScript(script: Script): Script {
  for (const [i, step] of script.entries()) {
    if (Object.hasOwn(TYPES, Object(step).type)) continue;
    throw new TypeError(
      `unable to play the script: step ${i} is ${JSON.stringify(step)}; use one of the types ${TYPE_NAMES}`,
    );
  }
  return script;
}
