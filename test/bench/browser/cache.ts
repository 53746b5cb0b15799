import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { launchChromium } from '../../harness/chromium.js';
import { sdkPage } from '../../harness/sdk-page.js';
import { table } from '../report/table.js';
import { median } from '../statistics.js';

// Measures the cost of the browser's cache in Chromium when it is full.

const ENTRIES = 2_000;
const ROUNDS = 200;
const ANSWER_UNITS = 4_096;

const server = createServer(await sdkPage()).listen(0, '127.0.0.1');
await once(server, 'listening');
const browser = await launchChromium();
const page = await browser.newPage();
// tsx wraps functions in it, also those that go to the page.
await page.addInitScript('globalThis.__name = (value) => value');
await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);

const samples = await page.evaluate(
  async ({ entries, rounds, units }) => {
    const cache = { namespace: 'bench', maxEntries: entries };
    const memory = createClientStorage(undefined, cache);
    const questions = Array.from({ length: entries + rounds }, (_, i) => `Question ${i}`);
    const keys = await Promise.all(
      questions.map((query) => memory.cache.keyOf({ query, stream_id: 'x' })),
    );
    const answerTo = (i: number) => ({
      text: `${i} `.padEnd(units, 'lorem ipsum '),
      provider: 'p',
      model: 'm',
      finishReason: 'stop' as const,
      usage: {},
      createdAt: Date.now(),
    });
    const put = (i: number): Promise<void> =>
      memory.cache.put({ key: keys[i]!, askedAt: Date.now(), replaces: true }, answerTo(i));
    const time = async (work: () => Promise<unknown>): Promise<number> => {
      const startedAt = performance.now();
      await work();
      return performance.now() - startedAt;
    };
    for (let i = 0; i < entries; i++) await put(i);
    await new Promise((resolve) => setTimeout(resolve, 1_000));

    const found: Record<string, number[]> = { lookup: [], answer: [], put: [], sweep: [] };
    for (let i = 0; i < rounds; i++) {
      const at = (i * 37) % entries;
      found['lookup']!.push(await time(() => memory.cache.get(keys[at]!)));
    }
    const client = rivulet.createClient({ cache });
    const options = { cache: 'only-if-cached' as const };
    for (let i = 0; i < rounds; i++) {
      const query = questions[(i * 41) % entries]!;
      found['answer']!.push(await time(() => client.start({ query, options }).result));
    }
    // One more than may be kept; then until the one that leaves for it has gone.
    const database = await new Promise<IDBDatabase>((resolve) => {
      const opening = indexedDB.open(`rivulet:${JSON.stringify([location.origin, 'bench'])}`);
      opening.onsuccess = () => resolve(opening.result);
    });
    const count = (): Promise<number> =>
      new Promise((resolve) => {
        const range = IDBKeyRange.bound('b:', 'b:\uffff');
        const counting = database.transaction('answers').objectStore('answers').count(range);
        counting.onsuccess = () => resolve(counting.result);
      });
    for (let i = 0; i < 20; i++) {
      found['put']!.push(await time(() => put(entries + i)));
      found['sweep']!.push(
        await time(async () => {
          while ((await count()) > entries);
        }),
      );
    }
    return found;
  },
  { entries: ENTRIES, rounds: ROUNDS, units: ANSWER_UNITS },
);

await browser.close();
server.close();

function row(name: string, what: string): (string | number)[] {
  const times = samples[name]!.toSorted((a, b) => a - b);
  return [what, median(times), times[Math.floor(times.length * 0.95)]!];
}

console.log(
  table(
    [`${ENTRIES} answers of ${ANSWER_UNITS} units, ms`, 'p50', 'p95'],
    [
      row('lookup', 'look one up'),
      row('answer', 'start() to its result'),
      row('put', 'keep one more'),
      row('sweep', 'until the oldest has left, which waits until the page is idle'),
    ],
  ),
);
