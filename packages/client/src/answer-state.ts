import { ReplaySubject } from 'rxjs';
import { isFinal, isSame } from './snapshot.js';
import type { AnswerSnapshot } from './types.js';

/** The newest snapshot of one answer, and who is told of each. */
export class AnswerState {
  current: AnswerSnapshot;
  // Not a BehaviorSubject, which gives nothing to who comes after the end.
  readonly snapshots$: ReplaySubject<AnswerSnapshot> = new ReplaySubject<AnswerSnapshot>(1);

  constructor(first: AnswerSnapshot) {
    this.current = first;
    this.snapshots$.next(first);
  }

  get isFinal(): boolean {
    return isFinal(this.current);
  }

  /** Whether it is the final one. Nothing happens after that, or if it is the same as before. */
  next(snapshot: AnswerSnapshot): boolean {
    if (this.isFinal || isSame(snapshot, this.current)) return false;
    this.current = snapshot;
    this.snapshots$.next(snapshot);
    if (this.isFinal) this.snapshots$.complete();
    return this.isFinal;
  }
}
