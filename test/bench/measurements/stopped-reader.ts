import { setTimeout as wait } from 'node:timers/promises';
import { requestOf } from '../session.js';
import type { StackName } from '../stacks/stack.js';
import { unitsOf } from '../tokens/text.js';
import type { Measurement } from './measurement.js';

const POLLING_MS = 250;
/** Polls without a new token after which the server has stopped to take any. */
const STILL_POLLS = 4;
const LIMIT_MS = 30_000;
const FIRST_MS = 500;
const SETTLING_MS = 1_000;
const MIB = 1024 * 1024;

/** Memory of the server for a stream whose reader has stopped: its process stands still. */
export function stoppedReader(
  id: string,
  stacks: readonly StackName[],
  { tokens }: { tokens: number },
): Measurement {
  return {
    id,
    stacks,
    async run({ server, clients, warm, connect }) {
      // The heap grows to its usual size before, and not while it is measured.
      await warm(60_000);
      await connect(1);
      await server.call('usageAfterCollection');
      // V8 returns memory to the system some time after a collection.
      await wait(SETTLING_MS);
      const before = await server.call('usageAfterCollection');
      await server.call('watchPeak');
      await clients.call('start', [requestOf({ id: 1, tokens, burst: 16, firstMs: FIRST_MS })]);
      await wait(FIRST_MS / 2);
      clients.freeze();
      const startedAt = performance.now();
      await wait(FIRST_MS);
      let emitted = -1;
      for (let still = 0; still < STILL_POLLS && performance.now() - startedAt < LIMIT_MS;) {
        const now = await server.call('usage');
        still = now.emitted === emitted ? still + 1 : 0;
        emitted = now.emitted;
        await wait(POLLING_MS);
      }
      const peakRss = await server.call('peakRss');
      const after = await server.call('usageAfterCollection');
      const taken = emitted - before.emitted;
      return {
        wrong: 0,
        rss: (after.rss - before.rss) / MIB,
        heap: (after.heap - before.heap) / MIB,
        peakRss: (peakRss - before.rss) / MIB,
        // The log counts two bytes for each UTF-16 unit. RSS does not grow where the warm-up left free pages.
        toAccounted:
          Math.max(after.rss - before.rss, after.heap - before.heap) / (2 * unitsOf(taken)),
        taken: (100 * taken) / tokens,
      };
    },
  };
}
