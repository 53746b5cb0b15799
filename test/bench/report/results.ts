import { median } from '../statistics.js';
import type { Figures } from '../measurements/measurement.js';
import type { StackName } from '../stacks/stack.js';

/** One measurement of one stack in one round. */
export interface Result {
  measurement: string;
  stack: StackName;
  round: number;
  figures: Figures | undefined;
  /** The reason for which there are no figures. */
  error: string | undefined;
  /** Cores that other processes used meanwhile; undefined if unknown. */
  foreignCores: number | undefined;
}

/** The median of a figure over all rounds; undefined if there is none. */
export function medianOf(
  results: readonly Result[],
  measurement: string,
  stack: StackName,
  figure: string,
): number | undefined {
  const values = results
    .filter((result) => result.measurement === measurement && result.stack === stack)
    .map(({ figures }) => figures?.[figure] ?? NaN)
    .filter((value) => !Number.isNaN(value));
  return values.length === 0 ? undefined : median(values);
}
