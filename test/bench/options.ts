import { parseArgs } from 'node:util';
import type { Measurement } from './measurements/measurement.js';
import { type StackName, STACKS } from './stacks/stack.js';

export interface Options {
  quick: boolean;
  /** Writes a CPU profile of each server. */
  profiled: boolean;
  rounds: number;
  stacks: readonly StackName[];
  /** @returns true if the measurement was chosen. */
  includes(measurement: Measurement): boolean;
}

/** @throws {Error} an option is unknown or has a wrong value. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      prof: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      stacks: { type: 'string' },
      only: { type: 'string' },
    },
  });
  const { quick, prof, rounds = quick ? '1' : '3' } = values;
  if (!/^[1-9]\d?$/.test(rounds)) throw new Error(`--rounds is ${rounds}; it must be 1 to 99`);
  const only = values.only?.split(',');
  return {
    quick,
    profiled: prof,
    rounds: Number(rounds),
    stacks: values.stacks === undefined ? STACKS : values.stacks.split(',').map(stackOf),
    includes: ({ id }) =>
      only === undefined || only.some((name) => id === name || id.startsWith(`${name}-`)),
  };
}

function stackOf(name: string): StackName {
  const stack = STACKS.find((known) => known === name);
  if (stack === undefined) throw new Error(`--stacks has ${name}; it may have ${STACKS.join(',')}`);
  return stack;
}
