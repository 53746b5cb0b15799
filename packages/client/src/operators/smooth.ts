import { asyncScheduler, type MonoTypeOperatorFunction, Observable } from 'rxjs';
import { nextFrame } from './next-frame.js';

// What has come is shown this much later at most: the pace of a model's words hides in it.
const BEHIND_MS = 400;
const SLOWEST_UNITS_PER_MS = 0.06;

/** A text on its way to the screen. */
interface Typing {
  readonly whole: string;
  /** UTF-16 units of it that are shown; a fraction is on its way. */
  readonly shown: number;
  readonly unitsPerMs: number;
}

/**
 * A growing text, such as `text()` and `text$` give, at an even typing speed: what has come is shown
 * within 0.4 s. The first value and the end come at once and whole, as everything does under
 * `prefers-reduced-motion`. A text that begins again is typed again. No surrogate pair is split.
 */
export function smooth(): MonoTypeOperatorFunction<string> {
  return (source) =>
    new Observable((subscriber) => {
      let typing: Typing | undefined;
      let emitted: string | undefined;
      let tickedAt: number | undefined;

      function show(next: Typing): void {
        typing = next;
        const text = visible(next);
        if (text === emitted) return;
        emitted = text;
        subscriber.next(text);
      }

      function tick(): void {
        tickedAt = asyncScheduler.now();
        subscriber.add(nextFrame(type));
      }

      function type(): void {
        const elapsedMs = Math.max(0, asyncScheduler.now() - (tickedAt ?? 0));
        tickedAt = undefined;
        if (typing === undefined) return;
        show(advance(typing, elapsedMs));
        if (isBehind(typing)) tick();
      }

      function showWhole(): void {
        if (typing !== undefined) show(complete(typing));
      }

      subscriber.add(
        source.subscribe({
          next(whole) {
            const heard = typing === undefined ? begin(whole) : hear(typing, whole);
            const next = prefersStillness() ? complete(heard) : heard;
            show(next);
            if (tickedAt === undefined && isBehind(next)) tick();
          },
          error(error: unknown) {
            showWhole();
            subscriber.error(error);
          },
          complete() {
            showWhole();
            subscriber.complete();
          },
        }),
      );
    });
}

function begin(whole: string): Typing {
  return { whole, shown: whole.length, unitsPerMs: 0 };
}

function hear(typing: Typing, whole: string): Typing {
  const goesOn = whole.startsWith(typing.whole);
  const shown = goesOn ? typing.shown : 0;
  const needed = Math.max(SLOWEST_UNITS_PER_MS, (whole.length - shown) / BEHIND_MS);
  // What came earlier is not to be later for what has come since.
  const unitsPerMs = goesOn && isBehind(typing) ? Math.max(typing.unitsPerMs, needed) : needed;
  return { whole, shown, unitsPerMs };
}

function advance(typing: Typing, elapsedMs: number): Typing {
  const shown = typing.shown + elapsedMs * typing.unitsPerMs;
  return { ...typing, shown: Math.min(typing.whole.length, shown) };
}

function complete(typing: Typing): Typing {
  return { ...typing, shown: typing.whole.length };
}

function isBehind({ whole, shown }: Typing): boolean {
  return shown < whole.length;
}

function visible({ whole, shown }: Typing): string {
  const end = Math.floor(shown);
  const splitsPair = /[\uD800-\uDBFF]/.test(whole.charAt(end - 1));
  return whole.slice(0, splitsPair ? end + 1 : end);
}

function prefersStillness(): boolean {
  const { matchMedia } = globalThis as { matchMedia?: typeof globalThis.matchMedia };
  return matchMedia?.('(prefers-reduced-motion: reduce)').matches ?? false;
}
