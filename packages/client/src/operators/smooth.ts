import { asyncScheduler, type MonoTypeOperatorFunction, Observable } from 'rxjs';
import { nextFrame } from './next-frame.js';

// What has come is shown this much later at most: the pace of a model's words hides in it.
const BEHIND_MS = 400;
const SLOWEST_UNITS_PER_MS = 0.06;

/** The first combining character. */
const COMBINING = 0x300;
/** The longest character that is kept whole, in UTF-16 units. */
const CHARACTER_UNITS = 64;

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
 * `prefers-reduced-motion`. A text that begins again is typed again. No character that a reader sees as one
 * is split, such as an emoji of several code points.
 */
export function smooth(): MonoTypeOperatorFunction<string> {
  return (source) =>
    new Observable((subscriber) => {
      let typing: Typing | undefined;
      /** The newest text, if no frame has looked at it yet. */
      let heard: string | undefined;
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
        takeHeard();
        if (typing === undefined) return;
        show(advance(typing, elapsedMs));
        if (isBehind(typing)) tick();
      }

      /** Looks at what has come. It costs as much as the text is long, so it is done once a frame. */
      function takeHeard(): void {
        if (heard === undefined || typing === undefined) return;
        typing = hear(typing, heard);
        heard = undefined;
      }

      function showWhole(): void {
        takeHeard();
        if (typing !== undefined) show(complete(typing));
      }

      subscriber.add(
        source.subscribe({
          next(whole) {
            heard = whole;
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

/** The text that is shown, with the whole of its last character: an emoji may be many units. */
function visible({ whole, shown }: Typing): string {
  const end = Math.floor(shown);
  // What begins below here is a character of its own.
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
