import { sha256, textOf } from './answer.js';

/** Holds what a reader shows of one answer against what the model says. */
export interface Watch {
  /** Another snapshot of the text. */
  text(text: string): void;
  ended(status: string, text: string): void;
  violation(what: string): void;
}

export interface WatchEvents {
  grew(): void;
  ended(snapshots: number): void;
  violation(what: string): void;
}

export function watchAnswer(query: string, events: WatchEvents): Watch {
  const expected = textOf(query);
  const digest = sha256(expected);
  let shown = '';
  let snapshots = 0;
  let isBroken = false;

  function violation(what: string): void {
    if (isBroken) return;
    isBroken = true;
    events.violation(what);
  }

  return {
    violation,
    text(text) {
      snapshots += 1;
      if (!text.startsWith(shown)) violation(`went back, ${shown.length} to ${text.length} units`);
      else if (!expected.startsWith(text)) violation(`differs within ${text.length} units`);
      if (text.length > shown.length) events.grew();
      shown = text;
    },
    ended(status, text) {
      if (status !== 'done') violation(`ended as ${status} after ${text.length} units`);
      else if (sha256(text) !== digest)
        violation(`has ${text.length} of ${expected.length} units, or others`);
      events.ended(snapshots);
    },
  };
}
