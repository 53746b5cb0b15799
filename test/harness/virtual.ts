import { TestScheduler } from 'rxjs/testing';
import { expect } from 'vitest';

/** RxJS's virtual time, in which nobody waits. */
export function virtual(play: Parameters<TestScheduler['run']>[0]): void {
  new TestScheduler((actual, expected) => expect(actual).toEqual(expected)).run(play);
}
