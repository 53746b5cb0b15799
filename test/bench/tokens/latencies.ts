/**
 * Milliseconds from the yield of each token to its arrival, from token `first` on, of tokens that have both.
 */
export function latenciesMs(yields: Float64Array, arrivals: Float64Array, first: number): number[] {
  const latencies: number[] = [];
  for (let i = first; i < yields.length; i++) {
    if (yields[i]! > 0 && arrivals[i]! > 0) latencies.push(arrivals[i]! - yields[i]!);
  }
  return latencies;
}
