export interface Spread {
  p50: number;
  p99: number;
  max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? NaN };
}

/** In milliseconds, as a table has it. */
export function spreadText({ p50, p99, max }: Spread): string {
  return [p50, p99, max].map((ms) => `${ms.toFixed(0)} ms`).join(', ');
}
