import { parseArgs } from 'node:util';
import type { Measurement } from './measurements/measurement.js';
import { createPlan } from './plan.js';
import { type StackName, STACKS } from './stacks/stack.js';

export interface Options {
  quick: boolean;
  /** Writes a CPU profile of each server. */
  profiled: boolean;
  rounds: number;
  stacks: readonly StackName[];
  plan: readonly Measurement[];
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
  const { quick, prof, rounds = quick ? '1' : '3', stacks, only } = values;
  if (!/^[1-9]\d?$/.test(rounds)) throw new Error(`--rounds is ${rounds}; it must be 1 to 99`);
  return {
    quick,
    profiled: prof,
    rounds: Number(rounds),
    stacks: stacks === undefined ? STACKS : stacks.split(',').map(stackOf),
    plan: choose(createPlan(quick), only?.split(',')),
  };
}

function stackOf(name: string): StackName {
  const stack = STACKS.find((known) => known === name);
  if (stack === undefined)
    throw new Error(`--stacks has ${name}; it may have ${STACKS.join(', ')}`);
  return stack;
}

/** The measurements that have one of the names, or one before a `-`. */
function choose(plan: readonly Measurement[], names: readonly string[] | undefined) {
  if (names === undefined) return plan;
  const has = ({ id }: Measurement, name: string): boolean =>
    id === name || id.startsWith(`${name}-`);
  for (const name of names) {
    if (plan.some((measurement) => has(measurement, name))) continue;
    const ids = plan.map(({ id }) => id).join(', ');
    throw new Error(`--only has ${name}; it may have ${ids}`);
  }
  return plan.filter((measurement) => names.some((name) => has(measurement, name)));
}
