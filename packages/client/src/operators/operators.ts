import { distinctUntilChanged, map, type OperatorFunction, scan } from 'rxjs';
import { NOTHING, type Received } from '../answer/receive.js';
import { receiveEvent } from '../answer/receive-event.js';
import { type Phase, snapshotOf } from '../answer/snapshot.js';
import type { AnswerSnapshot, ResponseEvent } from '../types.js';

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

/** An answer as `snapshots()` derives it from a stream's events. A failure is the stream's error. */
export type StreamSnapshot = Omit<AnswerSnapshot, 'id' | 'query' | 'requestId'>;

interface SnapshotState {
  received: Received;
  kept: boolean;
  phase: Phase;
}

/** The answer so far after each event, frozen. */
export function snapshots(): OperatorFunction<ResponseEvent, StreamSnapshot> {
  return (events) =>
    events.pipe(
      scan(
        ({ received, kept }: SnapshotState, event): SnapshotState => ({
          received: receiveEvent(received, event),
          kept: event.type === 'start' ? event.source === 'browser-cache' : kept,
          phase: phaseOf(event),
        }),
        { received: NOTHING, kept: false, phase: { status: 'open' } },
      ),
      map(({ received, kept, phase }) => {
        const {
          id: _,
          query: __,
          requestId: ___,
          ...snapshot
        } = snapshotOf({ id: '', query: '', kept }, received, phase);
        return Object.freeze(snapshot);
      }),
    );
}

function phaseOf(event: ResponseEvent): Phase {
  return event.type === 'end' ? { status: 'done', timing: event.timing } : { status: 'open' };
}
