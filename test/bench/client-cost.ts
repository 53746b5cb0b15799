import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Connection, StreamHandler } from '../../packages/client/src/connection/connection.js';
import { ActiveAnswers } from '../../packages/client/src/answer/active-answers.js';
import { LiveAnswer } from '../../packages/client/src/answer/live-answer.js';
import { type Answer, smooth, text } from '../../packages/client/src/index.js';

// Measures the cost of a chunk in the client, by the length of the answer so far: `npm run bench:client`.
// This process generates the frames, so that only the client is measured.

const UNITS = 5;
const LENGTHS = [10_000, 100_000, 1_000_000];
/** Chunks that are measured at each length. */
const MEASURED = 10_000;
/** Chunks in one turn of the event loop. */
const BURST = 16;

const FACES: Record<string, (answer: Answer) => unknown> = {
  events$: ({ events$ }) => events$.subscribe(),
  state$: ({ state$ }) => state$.subscribe(),
  text$: ({ text$ }) => text$.subscribe(),
  'text()': ({ events$ }) => events$.pipe(text()).subscribe(),
  'smooth()': ({ text$ }) => text$.pipe(smooth()).subscribe(),
  'for await': (answer) => readAll(answer),
};

async function readAll(answer: Answer): Promise<void> {
  for await (const _ of answer);
}

/** Microseconds of CPU a chunk, for answers of each length. */
async function costs(read: (answer: Answer) => unknown): Promise<number[]> {
  const { answer, link } = await begin();
  read(answer);
  let offset = 0;
  const feed = async (chunks: number): Promise<void> => {
    for (let i = 0; i < chunks; i++) {
      link.onSegment({ offset, size: UNITS, entry: { type: 'text', text: 'word ' } });
      offset += UNITS;
      if (i % BURST === 0) await nextTurn();
    }
  };
  const found: number[] = [];
  for (const length of LENGTHS) {
    await feed(Math.max(0, length - offset) / UNITS - MEASURED / 2);
    const before = process.cpuUsage();
    await feed(MEASURED);
    const { user, system } = process.cpuUsage(before);
    found.push((user + system) / MEASURED);
  }
  answer.release();
  return found;
}

async function begin(): Promise<{ answer: Answer; link: StreamHandler }> {
  let resolve!: (link: StreamHandler) => void;
  const joined = new Promise<StreamHandler>((settle) => (resolve = settle));
  const connection: Partial<Connection> = {
    addHandler(link) {
      resolve(link);
      return () => {};
    },
    sendReliably() {},
    acknowledge() {},
  };
  const answers = new ActiveAnswers(connection as Connection, undefined);
  const dependencies = { connection: connection as Connection, storage: undefined, answers };
  const answer = new LiveAnswer('id', { query: 'q' }, dependencies).createHandle();
  return { answer, link: await joined };
}

await costs(FACES['events$']!);
console.log(
  '| µs a chunk at | 10 KB | 100 KB | 1 MB | 1 MB : 10 KB |\n| --- | --- | --- | --- | --- |',
);
for (const [name, read] of Object.entries(FACES)) {
  const found = await costs(read);
  const ratio = found.at(-1)! / found[0]!;
  console.log(
    `| \`${name}\` | ${found.map((us) => us.toFixed(2)).join(' | ')} | ${ratio.toFixed(1)} |`,
  );
}
