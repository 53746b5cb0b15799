import { latenciesMs } from '../tokens/latencies.js';
import { requestOf } from '../session.js';
import type { Outcome } from '../processes/clients.js';
import type { StackName } from '../stacks/stack.js';
import { percentile } from '../statistics.js';
import type { Measurement } from './measurement.js';

/** All have begun to watch by then. */
const FIRST_MS = 500;
const EVERY_MS = 10;
const BURST = 2;
const LATE_MS = 2_000;

/** One stream of 200 tokens a second and all its readers, each with a connection of its own. */
export function watchers(
  id: string,
  stacks: readonly StackName[],
  { readers, seconds }: { readers: number; seconds: number },
): Measurement {
  return {
    id,
    stacks,
    serve: { oneUser: true },
    async run(session) {
      await session.warm(20_000);
      await session.connect(readers);
      const tokens = (seconds * 1000 * BURST) / EVERY_MS;
      const request = requestOf({
        id: 1,
        tokens,
        firstMs: FIRST_MS,
        everyMs: EVERY_MS,
        burst: BURST,
        timed: true,
        watched: true,
      });
      let outcome: Outcome | undefined;
      const used = await session.measure(async () => {
        const deadlineMs = FIRST_MS + seconds * 1000 + LATE_MS;
        outcome = await session.clients.call('watch', request, deadlineMs);
      });
      const yields = (await session.server.call('times')).get(request.id);
      const latencies = [...(outcome?.arrivedAt.values() ?? [])].flatMap((arrivals) =>
        yields === undefined ? [] : latenciesMs(yields, arrivals, 0),
      );
      return {
        wrong: (outcome?.wrong ?? 0) + (outcome?.unfinished ?? 0),
        serverCpu: used.serverCpu / (outcome?.tokens ?? NaN),
        p50: percentile(latencies, 0.5),
        p99: percentile(latencies, 0.99),
      };
    },
  };
}
