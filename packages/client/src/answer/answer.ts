import { Observable } from 'rxjs';
import { iterate } from './iterate.js';
import { eventsBetween, eventsOf, failureOf, isFinal } from './snapshot.js';
import type { Answer, AnswerSnapshot, ResponseEvent } from '../types.js';

/**
 * The face of one response, drawn from its states alone: `state$` replays the newest, and completes
 * after a final one.
 */
export function createAnswer(
  state$: Observable<AnswerSnapshot>,
  getSnapshot: () => AnswerSnapshot,
  reading: Pick<Answer, 'cancel' | 'release' | 'resume'>,
): Answer {
  const result = new Promise<AnswerSnapshot>((resolve, reject) => {
    state$.subscribe((snapshot) => {
      if (snapshot.error !== undefined) reject(snapshot.error);
      else if (isFinal(snapshot)) resolve(snapshot);
    });
  });
  // Whoever wants the failure has it here and in the state; ignoring it must not end a process.
  result.catch(() => {});

  const events$ = new Observable<ResponseEvent>((subscriber) => {
    let before: AnswerSnapshot | undefined;
    return state$.subscribe({
      next(snapshot) {
        const events = before ? eventsBetween(before, snapshot) : eventsOf(snapshot);
        before = snapshot;
        for (const event of events) subscriber.next(event);
      },
      complete() {
        const failure = failureOf(getSnapshot());
        if (failure === undefined) subscriber.complete();
        else subscriber.error(failure);
      },
    });
  });

  const text$ = new Observable<string>((subscriber) => {
    let before: string | undefined;
    return state$.subscribe({
      next({ text }) {
        if (text !== before) subscriber.next(text);
        before = text;
      },
      complete: () => subscriber.complete(),
    });
  });

  return {
    id: getSnapshot().id,
    state$,
    text$,
    events$,
    getSnapshot,
    ...reading,
    result,
    [Symbol.asyncIterator]: () => iterate(events$),
  };
}
