import type { ReceivedAnswer } from '../../../packages/client/src/answer/receive.js';
import type { Entry } from '../../../packages/server/src/entry.js';

type Mark = Exclude<Entry, { type: 'text' }>;

/**
 * The expected content of a log: its text, and the other entries by their offsets. An entry is one unit of
 * `units`.
 */
export interface Truth {
  readonly units: string;
  readonly marks: readonly (readonly [offset: number, mark: Mark])[];
}

const MARK = '\0';

export const EMPTY: Truth = { units: '', marks: [] };

export function withEntry({ units, marks }: Truth, entry: Entry): Truth {
  if (entry.type === 'text') return { units: units + entry.text, marks };
  return { units: units + MARK, marks: [...marks, [units.length, entry]] };
}

export function upTo({ units, marks }: Truth, offset: number): Truth {
  return { units: units.slice(0, offset), marks: marks.filter(([at]) => at < offset) };
}

export function hasEnded({ marks }: Truth): boolean {
  const last = marks.at(-1)?.[1].type;
  return last === 'end' || last === 'error';
}

/** All that matters of what a reader has. */
export interface Told {
  offset: number;
  text: string;
  /** Those of the newest attempt. */
  thoughts: string;
  attempt: number;
  /** Each as `name status, place in the text`. */
  tools: string;
  end: string;
}

/** The expected content of a reader that received everything, computed without the client's code. */
export function toldBy({ units, marks }: Truth): Told {
  const starts = marks.filter(([, { type }]) => type === 'start');
  const [from, start] = starts.at(-1) ?? [0, undefined];
  const textFrom = (first: number, end?: number): string =>
    units.slice(first, end).replaceAll(MARK, '');
  const tools: string[] = [];
  let thoughts = '';
  let end = '';
  for (const [at, mark] of marks) {
    if (mark.type === 'thought' && at > from) thoughts += mark.text;
    if (mark.type === 'tool_call') {
      const isBack = marks.some(
        ([, { type, ...rest }]) =>
          type === 'tool_result' && 'callId' in rest && rest.callId === mark.callId,
      );
      const place = at < from ? 0 : textFrom(from, at).length;
      tools.push(`${mark.callId} ${isBack ? 'done' : 'running'}, ${place}`);
    }
    if (mark.type === 'end') end = `end ${mark.totalLength} ${mark.digest}`;
    if (mark.type === 'error') end = `error ${mark.code}`;
  }
  return {
    offset: units.length,
    text: textFrom(from),
    thoughts,
    attempt: start?.type === 'start' ? start.attempt : 0,
    tools: tools.join('; '),
    end,
  };
}

export function toldTo({ offset, text, thoughts, attempt, tools, terminal }: ReceivedAnswer): Told {
  let end = '';
  if (terminal?.type === 'end') end = `end ${terminal.totalLength} ${terminal.digest}`;
  if (terminal?.type === 'error') end = `error ${terminal.error.code}`;
  return {
    offset,
    text,
    thoughts,
    attempt: attempt?.attempt ?? 0,
    tools: tools.map((use) => `${use.callId} ${use.status}, ${use.textBefore}`).join('; '),
    end,
  };
}

/** @returns true if a frame that ends or begins at `offset` splits a surrogate pair. */
export function partsPair({ units }: Truth, offset: number): boolean {
  return /^[\ud800-\udbff][\udc00-\udfff]$/.test(units.slice(Math.max(0, offset - 1), offset + 1));
}

/** @returns the number of units that can be read now. Half a pair waits for its other half. */
export function readable({ units }: Truth): number {
  return /[\ud800-\udbff]/.test(units.slice(-1)) ? units.length - 1 : units.length;
}
