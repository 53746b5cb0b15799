import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { meterForeignCpu } from './processes/foreign-cpu.js';
import type { Figures, Measurement } from './measurements/measurement.js';
import { type Options, parseOptions } from './options.js';
import { plot } from './report/plot.js';
import { summarizeProfile } from './report/profile.js';
import { report } from './report/report.js';
import type { Result } from './report/results.js';
import { type ProfilePaths, startSession } from './session.js';
import type { StackName } from './stacks/stack.js';

// `npm run bench`: README.md says how to run it and what its numbers mean.

/** With more foreign CPU, a full run repeats the measurement once. */
const QUIET_CORES = 0.6;
/** Nothing is repeated later, so that a full run takes at most 45 minutes. */
const REPEATING_MS = 15 * 60_000;
const FOLDER = fileURLToPath(new URL('../.artifacts/bench/', import.meta.url));

const options = optionsOrExit();
await mkdir(FOLDER, { recursive: true });

const startedAt = performance.now();
const results: Result[] = [];
for (const measurement of options.plan) {
  const stacks = measurement.stacks.filter((name) => options.stacks.includes(name));
  // A B C A B C: what disturbs the machine for a while disturbs all stacks.
  for (let round = 0; round < options.rounds; round++) {
    for (const stack of stacks) results.push(await measureQuietly(measurement, stack, round));
  }
}

const markdown = report(results);
await writeFile(`${FOLDER}results.md`, `${markdown}\n`);
await writeFile(`${FOLDER}results.json`, `${JSON.stringify(results, undefined, 2)}\n`);
const curves = plot(results);
if (curves !== undefined) await writeFile(`${FOLDER}curves.svg`, curves);
const minutes = (performance.now() - startedAt) / 60_000;
console.log(`\n${markdown}\n`);
console.log(`${minutes.toFixed(1)} minutes; written to ${FOLDER}`);
const failed = results.some(({ figures }) => figures === undefined || figures.wrong > 0);
process.exit(failed ? 1 : 0);

function optionsOrExit(): Options {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`rivulet: unable to run the benchmark: ${(error as Error).message}`);
    process.exit(1);
  }
}

async function measureQuietly(
  measurement: Measurement,
  stack: StackName,
  round: number,
): Promise<Result> {
  const first = await measure(measurement, stack, round);
  const late = options.quick || performance.now() - startedAt > REPEATING_MS;
  if (late || (first.foreignCores ?? 0) < QUIET_CORES) return first;
  const second = await measure(measurement, stack, round);
  return (second.foreignCores ?? 0) < (first.foreignCores ?? 0) ? second : first;
}

async function measure(measurement: Measurement, stack: StackName, round: number): Promise<Result> {
  const { id } = measurement;
  const profilePaths = options.profiled ? profilePathsOf(`${id}-${stack}`) : undefined;
  for (const path of Object.values(profilePaths ?? {})) await rm(path, { force: true });
  const session = await startSession(stack, { ...measurement, profilePaths });
  const foreignCores = meterForeignCpu(session.pids);
  let figures: Figures | undefined;
  let error: string | undefined;
  try {
    figures = await measurement.run(session);
  } catch (reason) {
    error = reason instanceof Error ? reason.message : String(reason);
  }
  const result = { measurement: id, stack, round, figures, error, foreignCores: foreignCores() };
  await session.stop();
  console.log(`${id} ${stack} ${error ?? oneLine(figures ?? {})}`);
  for (const path of Object.values(profilePaths ?? {})) {
    if (existsSync(path)) console.log(`${path}\n${await summarizeProfile(path)}\n`);
  }
  return result;
}

function profilePathsOf(name: string): ProfilePaths {
  const path = (process: string): string => `${FOLDER}${name}-${process}.cpuprofile`;
  return { server: path('server'), clients: path('clients') };
}

function oneLine(figures: Record<string, number>): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(3))}`)
    .join(', ');
}
