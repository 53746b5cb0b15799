import fc from 'fast-check';
import type { Generation } from './generation.js';
import type { ModelReader } from './model-reader.js';
import type { World } from './world.js';

/** The next step in a world. A counterexample is printed as the names of its steps. */
export interface Step {
  name: string;
  happen(world: World): void | Promise<void>;
}

function step(name: string, happen: Step['happen']): Step {
  return Object.assign({ name, happen }, { [fc.toStringMethod]: () => `\n  ${name}` });
}

/** The one that `index` names among those there are. */
function pick<T>(all: readonly T[], index: number): T | undefined {
  return all[index % Math.max(1, all.length)];
}

const anyOne = fc.nat(5);
const some = fc.nat(12);
const [HIGH, LOW] = ['🦊'.slice(0, 1), '🦊'.slice(1)];

/** Never empty; long, or with halves of surrogate pairs, which the next text may complete. */
export const text: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.string({ unit: fc.constantFrom('a', 'é', '🦊', HIGH, LOW), minLength: 1 }),
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 100, max: 1_300 }).map((n) => 'long🦊'.repeat(n).slice(0, n)),
  },
);

const queries = fc.constantFrom('q', 'q', 'another');
const windows = fc.constantFrom(undefined, 2, 7, 64, 65_536);

function ofGeneration(name: string, happen: (generation: Generation, n: number) => void) {
  return fc.tuple(anyOne, fc.nat(2)).map(([g, n]) =>
    step(`generation ${g} ${name.replace('#', String(n))}`, ({ generations }) => {
      const generation = pick(generations, g);
      if (generation !== undefined) happen(generation, n);
    }),
  );
}

const says = fc.tuple(anyOne, fc.array(text, { minLength: 1, maxLength: 4 })).map(([g, texts]) =>
  step(`generation ${g} says ${texts.map((t) => JSON.stringify(t)).join(', ')}`, (world) => {
    for (const piece of texts) pick(world.generations, g)?.say(piece);
  }),
);

function ofReader(name: string, happen: (reader: ModelReader, n: number, world: World) => void) {
  return fc.tuple(anyOne, some).map(([r, n]) =>
    step(`reader ${r} ${name.replace('#', String(n))}`, (world) => {
      const reader = pick(world.readers, r);
      if (reader !== undefined) happen(reader, n, world);
    }),
  );
}

const asks = fc
  .tuple(queries, windows)
  .map(([query, window]) =>
    step(`a reader asks "${query}" (window ${window})`, (world) => world.ask(query, window)),
  );

const joins = fc.tuple(anyOne, windows).map(([s, window]) =>
  step(`a reader joins stream ${s} (window ${window})`, (world) => {
    const stream = pick(world.streams, s);
    if (stream !== undefined) world.join(stream, window);
  }),
);

function ofStream(
  name: string,
  happen: (world: World, stream: World['streams'][number]) => void,
): fc.Arbitrary<Step> {
  return anyOne.map((s) =>
    step(`stream ${s} ${name}`, (world) => {
      const stream = pick(world.streams, s);
      if (stream !== undefined) happen(world, stream);
    }),
  );
}

const steps = fc.oneof(
  { weight: 36, arbitrary: fc.constant(step('turn', (world) => world.turn())) },
  { weight: 24, arbitrary: says },
  {
    weight: 2,
    arbitrary: fc
      .boolean()
      .map((busy) =>
        step(`the server is ${busy ? 'busy' : 'idle'}`, (w) => void (w.isBusy = busy)),
      ),
  },
  { weight: 3, arbitrary: ofGeneration('begins again', (generation) => generation.beginAgain()) },
  {
    weight: 4,
    arbitrary: ofGeneration('thinks #', (generation, n) => generation.think(`Hm ${n}. `)),
  },
  { weight: 3, arbitrary: ofGeneration('calls a tool', (generation) => generation.callTool()) },
  {
    weight: 3,
    arbitrary: ofGeneration('hears of it', (generation) => generation.returnFromTool()),
  },
  { weight: 8, arbitrary: ofGeneration('waits behind #', (generation, n) => generation.queue(n)) },
  { weight: 3, arbitrary: ofGeneration('ends', (generation) => generation.end()) },
  { weight: 3, arbitrary: ofGeneration('fails', (generation) => generation.fail()) },
  { weight: 9, arbitrary: asks },
  { weight: 6, arbitrary: joins },
  { weight: 3, arbitrary: ofStream('is asked for again', (world, stream) => world.repeat(stream)) },
  { weight: 3, arbitrary: ofStream('is cancelled', (world, stream) => world.cancel(stream)) },
  { weight: 18, arbitrary: ofReader('is given #', (r, n, world) => world.deliver(r, n)) },
  { weight: 6, arbitrary: ofReader('acknowledges', (reader) => reader.ackLazily()) },
  { weight: 3, arbitrary: ofReader('acknowledges a wrong #', (reader, n) => reader.ack(n - 2)) },
  { weight: 6, arbitrary: ofReader('is cut, # late', (reader, n) => reader.cut(n)) },
  { weight: 9, arbitrary: ofReader('attaches', (reader, _, world) => world.resume(reader)) },
  {
    weight: 3,
    arbitrary: ofReader('is given the last again', (r, _, world) => r.deliverAgain(world.find(r))),
  },
  {
    weight: 6,
    arbitrary: ofReader('is given late #', (r, n, world) => r.deliverLate(n, world.find(r))),
  },
  { weight: 3, arbitrary: ofReader('is blocked', (reader) => reader.block()) },
  { weight: 3, arbitrary: ofReader('is unblocked', (reader) => reader.unblock()) },
  {
    weight: 1,
    arbitrary: some.map((n) => step(`the server restarts, ${n} late`, (w) => w.restart(n))),
  },
  { weight: 1, arbitrary: fc.constant(step('every log is dropped', (world) => world.dropAll())) },
);

/** The steps of one world, beginning with the first question. */
export const schedules: fc.Arbitrary<Step[]> = fc
  .tuple(asks, fc.array(steps, { size: '+1', maxLength: 60 }))
  .map(([first, rest]) => [first, ...rest]);
