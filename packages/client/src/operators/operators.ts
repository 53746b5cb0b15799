import { distinctUntilChanged, map, type OperatorFunction, scan } from 'rxjs';
import { NOTHING_RECEIVED, type ReceivedAnswer } from '../answer/receive.js';
import { receiveEvent } from '../answer/receive-event.js';
import { type Phase, createSnapshot } from '../answer/snapshot.js';
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
  received: ReceivedAnswer;
  isCached: boolean;
  phase: Phase;
}

/** The answer so far after each event, frozen. */
export function snapshots(): OperatorFunction<ResponseEvent, StreamSnapshot> {
  return (events) =>
    events.pipe(
      scan(
        ({ received, isCached }: SnapshotState, event): SnapshotState => ({
          received: receiveEvent(received, event),
          isCached: event.type === 'start' ? event.source === 'browser-cache' : isCached,
          phase: phaseOf(event),
        }),
        { received: NOTHING_RECEIVED, isCached: false, phase: { status: 'open' } },
      ),
      map(({ received, isCached, phase }) => {
        const {
          id: _,
          query: __,
          requestId: ___,
          ...snapshot
        } = createSnapshot({ id: '', query: '', isCached }, received, phase);
        return Object.freeze(snapshot);
      }),
    );
}

function phaseOf(event: ResponseEvent): Phase {
  return event.type === 'end' ? { status: 'done', timing: event.timing } : { status: 'open' };
}
