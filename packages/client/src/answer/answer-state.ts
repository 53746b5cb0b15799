import type { Observable } from 'rxjs';
import { createLatest } from '../latest.js';
import { isFinal, isSame } from './snapshot.js';
import type { AnswerSnapshot } from '../types.js';

/** The newest snapshot of one answer, and who is told of each. */
export class SnapshotState {
  current: AnswerSnapshot;
  readonly #latest = createLatest<AnswerSnapshot>();

  constructor(first: AnswerSnapshot) {
    this.current = first;
    this.#latest.next(first);
  }

  /** The newest at once, then each change; completes after the final one. */
  get snapshots$(): Observable<AnswerSnapshot> {
    return this.#latest.value$;
  }

  get isFinal(): boolean {
    return isFinal(this.current);
  }

  /** Whether it is the final one. Nothing happens after that, or if it is the same as before. */
  next(snapshot: AnswerSnapshot): boolean {
    if (this.isFinal || isSame(snapshot, this.current)) return false;
    this.current = snapshot;
    this.#latest.next(snapshot);
    if (this.isFinal) this.#latest.complete();
    return this.isFinal;
  }
}
