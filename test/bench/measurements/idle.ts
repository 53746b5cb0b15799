import { setTimeout as wait } from 'node:timers/promises';
import { requestOf } from '../session.js';
import type { StackName } from '../stacks/stack.js';
import type { Measurement } from './measurement.js';

const SETTLING_MS = 700;
const STARTING_MS = 10_000;
const POLLING_MS = 100;

/** Memory for a connection that does nothing, and for one with a stream that has no token yet. */
export function idle(
  id: string,
  stacks: readonly StackName[],
  { connections }: { connections: number },
): Measurement {
  return {
    id,
    stacks,
    async run({ server, clients, warm, connect }) {
      await warm(500);
      const before = await server.call('usageAfterCollection');
      await connect(connections);
      await wait(SETTLING_MS);
      const idling = await server.call('usageAfterCollection');
      const requests = Array.from({ length: connections }, (_, i) =>
        requestOf({ id: i, tokens: 1, firstMs: 60_000 }),
      );
      await clients.call('start', requests);
      const deadline = performance.now() + STARTING_MS;
      while ((await server.call('usage')).started - before.started < connections) {
        if (performance.now() > deadline) throw new Error('unable to start all streams');
        await wait(POLLING_MS);
      }
      await wait(SETTLING_MS);
      const waiting = await server.call('usageAfterCollection');
      const kilobytes = (bytes: number): number => bytes / connections / 1024;
      return {
        wrong: 0,
        idleRss: kilobytes(idling.rss - before.rss),
        idleHeap: kilobytes(idling.heap - before.heap),
        waitingRss: kilobytes(waiting.rss - before.rss),
        waitingHeap: kilobytes(waiting.heap - before.heap),
      };
    },
  };
}
