import type { Generated } from '../../lab/recorder.js';
import type { Meter } from './meter.js';

/** A text of the page, and the generated one that it was compared with. */
export interface Comparison {
  /** UTF-16 units of the page's text. */
  units: number;
  /** SHA-256 of the page's text in UTF-8, in hexadecimal. */
  digest: string;
  generated: Generated;
}

/** The state of an answer, as one reader has it. */
export interface ReaderState {
  status: string;
  text: string;
  meter: Meter | undefined;
}

/** One reader of the comparison: how far it is, whether its text is exact, and the end of the text. */
export interface Column {
  /** @param newest undefined if the server was not reached. */
  setComparison(newest: Comparison | undefined): void;
  draw(reading: ReaderState | undefined): void;
}

const TAIL_UNITS = 280;
/** A shorter time without text is usual. */
const SILENT_MS = 2_000;
const FINAL = new Set(['done', 'cancelled', 'failed', 'released']);

/** @returns true if an answer with this status does not change any more. */
export function isFinal(status: string): boolean {
  return FINAL.has(status);
}

export function createColumn(host: HTMLElement, name: string): Column {
  host.innerHTML = `
    <h4></h4>
    <p class="verdict" data-verdict="none"></p>
    <p class="figures"></p>
    <p class="digest"></p>
    <pre class="tail" role="group" tabindex="0"></pre>`;
  const part = (selector: string): HTMLElement => host.querySelector(selector)!;
  part('h4').textContent = name;
  part('.tail').ariaLabel = `End of the text, ${name}`;
  let comparison: Comparison | undefined;

  return {
    setComparison: (newest) => void (comparison = newest),
    draw(reading) {
      const verdict = part('.verdict');
      verdict.dataset['verdict'] = verdictOf(reading, comparison);
      verdict.textContent = verdictText(reading, comparison);
      part('.figures').textContent = figuresOf(reading);
      part('.digest').textContent = comparison ? `SHA-256 ${comparison.digest.slice(0, 16)}…` : '';
      const tail = part('.tail');
      tail.textContent = reading?.text.slice(-TAIL_UNITS) ?? '';
      tail.scrollTop = tail.scrollHeight;
    },
  };
}

function figuresOf(reading: ReaderState | undefined): string {
  if (reading === undefined) return '';
  const { gapMs = 0, caughtUpUnits = 0 } = reading.meter ?? {};
  const state = `Status: ${reading.status}.`;
  const openMs = silentMs(reading);
  if (openMs > Math.max(gapMs, SILENT_MS)) {
    return `${state} Longest gap ${(openMs / 1_000).toFixed(1)} s so far.`;
  }
  if (gapMs === 0) return state;
  const units = caughtUpUnits === 1 ? '1 character' : `${caughtUpUnits} characters`;
  return `${state} Longest gap ${Math.round(gapMs)} ms, then ${units} at once.`;
}

/** @returns the time since the last text; 0 for an answer that has ended. */
function silentMs({ status, meter }: ReaderState): number {
  return isFinal(status) ? 0 : (meter?.openGapMs(performance.now()) ?? 0);
}

/** @returns true if the reader waits for an answer that is not generated any more. */
function isStranded(reading: ReaderState, { generated }: Comparison): boolean {
  return !generated.isRunning && !isFinal(reading.status) && silentMs(reading) >= SILENT_MS;
}

function isPrefix({ units, digest, generated }: Comparison): boolean {
  return units <= generated.length && digest === generated.digest;
}

function verdictOf(
  reading: ReaderState | undefined,
  comparison: Comparison | undefined,
): 'none' | 'exact' | 'wrong' | 'behind' | 'stranded' {
  if (reading === undefined || comparison === undefined) return 'none';
  if (!isPrefix(comparison)) return 'wrong';
  if (isStranded(reading, comparison)) return 'stranded';
  return comparison.units === comparison.generated.length ? 'exact' : 'behind';
}

function verdictText(reading: ReaderState | undefined, comparison: Comparison | undefined): string {
  if (reading === undefined) return 'No answer yet.';
  if (comparison === undefined) return 'Not compared yet.';
  const { units, generated } = comparison;
  const [have, of] = [units.toLocaleString('en'), generated.length.toLocaleString('en')];
  if (!isPrefix(comparison)) {
    return `Not the text that was generated (${have} of ${of} characters).`;
  }
  if (isStranded(reading, comparison)) {
    const seconds = Math.floor(silentMs(reading) / 1_000);
    return `Still waiting: no text for ${seconds} s (${have} of ${of} characters).`;
  }
  if (units === generated.length) {
    return generated.isRunning
      ? `Exact so far: ${have} characters.`
      : `Exact: ${have} of ${of} characters.`;
  }
  return isFinal(reading.status)
    ? `Exact, but not whole: the first ${have} of ${of} characters.`
    : `Exact so far: the first ${have} of ${of} characters.`;
}
