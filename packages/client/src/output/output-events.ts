import type { Observable, Subscriber } from 'rxjs';
import type { Answer, AnswerSnapshot, ResponseEvent } from '../types.js';
import { createPartialJson } from './partial-json.js';

/** Emits the part of a JSON text that has arrived, each time it grows. */
export function emitPartials(
  events$: Observable<ResponseEvent>,
  subscriber: Subscriber<unknown>,
): void {
  let json = createPartialJson();
  subscriber.add(
    events$.subscribe({
      next(event) {
        if (event.type === 'start') json = createPartialJson();
        if (event.type !== 'text') return;
        const value = json.add(event.text);
        if (value !== undefined) subscriber.next(value);
      },
      error: () => subscriber.complete(),
      complete: () => subscriber.complete(),
    }),
  );
}

/** Emits the events of an answer and of the one that follows it, and the end of the last one. */
export function emitEvents(
  {
    answers$,
    state$,
    failureOf,
  }: {
    answers$: Observable<Answer>;
    state$: Observable<AnswerSnapshot>;
    failureOf: (snapshot: AnswerSnapshot) => unknown;
  },
  subscriber: Subscriber<ResponseEvent>,
): void {
  if (subscriber.closed) return;
  // The states say what becomes of the answers, because they know whether the text is valid.
  const error = (): void => {};
  const next = (event: ResponseEvent): void => {
    if (event.type !== 'end') subscriber.next(event);
  };
  const read = (answer: Answer): void => subscriber.add(answer.events$.subscribe({ next, error }));
  let newest: AnswerSnapshot | undefined;
  subscriber.add(answers$.subscribe(read));
  subscriber.add(
    state$.subscribe({
      next: (snapshot) => (newest = snapshot),
      complete() {
        const { finishReason, usage, timing } = newest ?? {};
        const failure = newest && failureOf(newest);
        if (failure !== undefined) return subscriber.error(failure);
        if (finishReason !== undefined && usage !== undefined && timing !== undefined)
          subscriber.next({ type: 'end', finishReason, usage, timing });
        subscriber.complete();
      },
    }),
  );
}
