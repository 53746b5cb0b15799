import { distinctUntilChanged, type OperatorFunction, scan } from 'rxjs';
import type { ResponseEvent } from './types.js';

/** The whole text so far, each time it grows; a new attempt begins it again. */
export function text(): OperatorFunction<ResponseEvent, string> {
  return (events) =>
    events.pipe(
      scan((sofar, event) => {
        if (event.type === 'start') return '';
        return event.type === 'text' ? sofar + event.text : sofar;
      }, ''),
      distinctUntilChanged(),
    );
}
