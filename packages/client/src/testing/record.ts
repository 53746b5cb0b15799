import { StreamError } from '@rivulet/protocol';
import {
  concatMap,
  EMPTY,
  materialize,
  of,
  type OperatorFunction,
  timeInterval,
  toArray,
} from 'rxjs';
import type { ResponseEvent } from '../types.js';
import type { Script, Step } from './script.js';

/**
 * Records the events of a stream with their times. Emits one script when the stream completes or fails. As JSON, the
 * script contains the answer, and the arguments and results of its tools.
 */
export function record(): OperatorFunction<ResponseEvent, Script> {
  return (events) =>
    events.pipe(
      materialize(),
      timeInterval(),
      concatMap(({ value: happened, interval: afterMs }) => {
        if (happened.kind === 'C') return EMPTY;
        const step = happened.kind === 'N' ? happened.value : errorStep(happened.error);
        return of({ ...step, afterMs });
      }),
      toArray(),
    );
}

function errorStep(error: unknown): Step {
  if (!(error instanceof StreamError)) return { type: 'error', code: 'internal' };
  const { code, message, retryable, retryAfterMs } = error;
  const retryAfter = retryAfterMs !== undefined && { retryAfterMs };
  return { type: 'error', code, message, retryable, ...retryAfter };
}
