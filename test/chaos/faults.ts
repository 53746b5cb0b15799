import { between, type Random, randomOf } from './random.js';

/** The fault of one connection. */
export interface Faults {
  /** The position of the fault: a byte in one direction, or a time if that byte is never reached. */
  cut: { direction: Direction; atByte: number; afterMs: number; reset: boolean };
  /** Bytes are taken but none is passed on for a while. */
  stall: { direction: Direction; atByte: number; forMs: number } | undefined;
  /** Each way. */
  latencyMs: number;
  /** Once text flows: a handshake at a kilobyte a second would be the line's own time. */
  bytesPerSecond: number | undefined;
  /** For how long no connection is taken once this one broke. */
  downMs: number;
}

export type Direction = 'up' | 'down';

/** The same for the same seed, reader and number of the connection. */
export function faultsOf(
  seed: string,
  longestMs: number,
  reader: string,
  connection: number,
): Faults {
  const random = randomOf(`${seed} ${reader} ${connection}`);
  return {
    cut: {
      ...placeOf(random),
      afterMs: between(random, 300, longestMs),
      reset: random() < 0.5,
    },
    stall: random() < 0.2 ? { ...placeOf(random), forMs: between(random, 100, 1_500) } : undefined,
    latencyMs: random() < 0.15 ? 100 : 0,
    bytesPerSecond: random() < 0.1 ? 1_024 : undefined,
    downMs: random() < 0.15 ? between(random, 50, 400) : 0,
  };
}

/** One in ten at any byte, also of the handshake; else where text flows. */
function placeOf(random: Random): { direction: Direction; atByte: number } {
  const direction = random() < 0.5 ? 'up' : 'down';
  if (random() < 0.1) return { direction, atByte: between(random, 0, 3_000) };
  return { direction: 'down', atByte: between(random, 500, 9_000) };
}
