import { asyncScheduler, type MonoTypeOperatorFunction, Observable } from 'rxjs';
import { nextFrame } from './next-frame.js';

// The greatest delay of a text. It hides the uneven pace at which the model sends text.
const BEHIND_MS = 400;
const SLOWEST_UNITS_PER_MS = 0.06;

/** The first combining character. */
const COMBINING = 0x300;
/** The length of the longest character that is never split, in UTF-16 units. */
const CHARACTER_UNITS = 64;

/** A text of which a growing part is shown. */
interface Typing {
  readonly whole: string;
  /** The number of UTF-16 units that are shown; it may have a fraction. */
  readonly shown: number;
  readonly unitsPerMs: number;
}

/**
 * Emits a growing text, such as that of `text()` and `text$`, at an even typing speed, at most 0.4 s after it
 * arrived. The first value and the end are emitted whole and at once; under `prefers-reduced-motion` every
 * value is. A text that starts again is typed again. Grapheme clusters, such as an emoji of several code
 * points, are never split.
 */
export function smooth(): MonoTypeOperatorFunction<string> {
  return (source) =>
    new Observable((subscriber) => {
      let typing: Typing | undefined;
      /** The newest text, until the next frame processes it. */
      let received: string | undefined;
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
        processReceived();
        if (typing === undefined) return;
        show(advance(typing, elapsedMs));
        if (isBehind(typing)) tick();
      }

      /** Runs once a frame, because its cost grows with the length of the text. */
      function processReceived(): void {
        if (received === undefined || typing === undefined) return;
        typing = extend(typing, received);
        received = undefined;
      }

      function showWhole(): void {
        processReceived();
        if (typing !== undefined) show(complete(typing));
      }

      const stoppable = new Observable<string>((inner) => {
        // Added before a synchronous source emits, so that unsubscribing stops it.
        subscriber.add(inner);
        source.subscribe(inner);
      });
      stoppable.subscribe({
        next(whole) {
          received = whole;
          if (typing === undefined) show(begin(whole));
          else if (prefersStillness()) showWhole();
          else if (tickedAt === undefined) tick();
        },
        error(error: unknown) {
          showWhole();
          subscriber.error(error);
        },
        complete() {
          showWhole();
          subscriber.complete();
        },
      });
    });
}

function begin(whole: string): Typing {
  return { whole, shown: whole.length, unitsPerMs: 0 };
}

function extend(typing: Typing, whole: string): Typing {
  const isContinued = whole.startsWith(typing.whole);
  const shown = isContinued ? typing.shown : 0;
  const needed = Math.max(SLOWEST_UNITS_PER_MS, (whole.length - shown) / BEHIND_MS);
  // New text does not delay the text before it.
  const unitsPerMs = isContinued && isBehind(typing) ? Math.max(typing.unitsPerMs, needed) : needed;
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

/** The text that is shown, with the whole of its last character: an emoji may be many units. */
function visible({ whole, shown }: Typing): string {
  const end = Math.floor(shown);
  // A code unit below `COMBINING` always starts a new character.
  if (end >= whole.length || whole.charCodeAt(end) < COMBINING) return whole.slice(0, end);
  const from = Math.max(0, end - CHARACTER_UNITS);
  const near = whole.slice(from, end + CHARACTER_UNITS);
  const last = segmenter()
    ?.segment(near)
    .containing(end - 1 - from);
  if (last !== undefined) return whole.slice(0, from + last.index + last.segment.length);
  const splitsPair = /[\uD800-\uDBFF]/.test(whole.charAt(end - 1));
  return whole.slice(0, splitsPair ? end + 1 : end);
}

let graphemes: Intl.Segmenter | undefined;

/** Undefined in a browser without one. */
function segmenter(): Intl.Segmenter | undefined {
  if (graphemes === undefined && 'Segmenter' in Intl) graphemes = new Intl.Segmenter();
  return graphemes;
}

function prefersStillness(): boolean {
  const { matchMedia } = globalThis as { matchMedia?: typeof globalThis.matchMedia };
  return matchMedia?.('(prefers-reduced-motion: reduce)').matches ?? false;
}
