import { setTimeout as wait } from 'node:timers/promises';
import { latenciesMs } from '../tokens/latencies.js';
import { requestOf } from '../session.js';
import type { StackName } from '../stacks/stack.js';
import { percentile } from '../statistics.js';
import type { Measurement } from './measurement.js';

/** Later tokens are not waited for. */
const LATE_MS = 2_000;
/** The time that streams have to begin, each at a moment of its own. */
const FIRST_MS = 300;

export interface Pace {
  streams: number;
  /** Tokens that arrive together, every 50 ms. */
  burst: number;
  seconds: number;
  /** The first part of the time is not measured: all streams start in it. */
  settlingMs: number;
}

const EVERY_MS = 50;

/** Many streams at the pace of a model: what a token costs the server, and how late it comes. */
export function paced(id: string, stacks: readonly StackName[], pace: Pace): Measurement {
  const { streams, burst, seconds, settlingMs } = pace;
  const tokens = Math.round((seconds * 1000) / EVERY_MS) * burst;
  return {
    id,
    stacks,
    async run(session) {
      await session.warm(20_000);
      await session.connect(streams);
      const requests = Array.from({ length: streams }, (_, i) =>
        requestOf({
          id: i,
          tokens,
          // Spread evenly, the same in each run.
          firstMs: FIRST_MS + (EVERY_MS * i) / streams,
          everyMs: EVERY_MS,
          burst,
          timed: true,
        }),
      );
      const running = session.clients.call('run', requests, FIRST_MS + seconds * 1000 + LATE_MS);
      await wait(settlingMs);
      const used = await session.measure(() => wait(seconds * 1000 - settlingMs));
      const { wrong, tokens: arrived, arrivedAt } = await running;
      const yieldedAt = await session.server.call('times');

      const settled = Math.ceil(settlingMs / EVERY_MS) * burst;
      const latencies = [...arrivedAt].flatMap(([stream, arrivals]) => {
        const yields = yieldedAt.get(stream);
        return yields === undefined ? [] : latenciesMs(yields, arrivals, settled);
      });
      return {
        wrong,
        serverCpu: used.serverCpu / used.emitted,
        clientCpu: used.clientCpu / used.emitted,
        p50: percentile(latencies, 0.5),
        p99: percentile(latencies, 0.99),
        delivered: (100 * arrived) / (streams * tokens),
        serverBusy: used.serverBusy,
        clientBusy: used.clientBusy,
      };
    },
  };
}
