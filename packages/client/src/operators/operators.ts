import { distinctUntilChanged, map, type OperatorFunction, scan } from 'rxjs';
import { NOTHING_RECEIVED, type ReceivedAnswer } from '../answer/receive.js';
import { receiveEvent } from '../answer/receive-event.js';
import { type Phase, createSnapshot } from '../answer/snapshot.js';
import type { AnswerSnapshot, ResponseEvent } from '../types.js';

/**
 * The whole text so far, each time it grows. A new attempt begins it again. The first value is empty, and comes
 * with the first event of any kind.
 */
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

/**
 * An answer as `snapshots()` derives it from a stream's events. A failure is the error of the Observable. Only
 * `state$` of a handle tells of the connection, of the rate limit (`retryAt`) and of an answer that failed.
 */
export interface StreamSnapshot extends Omit<
  AnswerSnapshot,
  'id' | 'query' | 'requestId' | 'status' | 'retryAt' | 'error'
> {
  readonly status: 'queued' | 'loading' | 'waiting' | 'streaming' | 'done';
}

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
          retryAt: ____,
          error: _____,
          ...snapshot
        } = createSnapshot({ id: '', query: '', isCached }, received, phase);
        return Object.freeze({ ...snapshot, status: snapshot.status as StreamSnapshot['status'] });
      }),
    );
}

function phaseOf(event: ResponseEvent): Phase {
  return event.type === 'end' ? { status: 'done', timing: event.timing } : { status: 'open' };
}
