import { setTimeout as wait } from 'node:timers/promises';
import { latenciesMs } from '../tokens/latencies.js';
import type { ClientCommands } from '../processes/clients.js';
import type { Remote } from '../processes/remote.js';
import { requestOf, type Session } from '../session.js';
import { percentile } from '../statistics.js';
import type { Measurement } from './measurement.js';

const READERS = 1_000;
/** 1,000 tokens a second for all stopped readers: their requests are the same, and share a generation. */
const STOPPED = { everyMs: 20, burst: 20, firstMs: 1_500 };
const EVERY_MS = 50;
const FIRST_MS = 100;
const LATE_MS = 2_000;

/** A reader beside 1,000 that have stopped: how late its tokens come, and what a stopped one takes. */
export function besideStopped(id: string, { seconds }: { seconds: number }): Measurement {
  return {
    id,
    stacks: ['rivulet'],
    async run(session) {
      const beside = await session.startClients();
      await session.warm(20_000);
      await session.connect(READERS);
      await session.connect(1, beside);
      const alone = await pace(session, beside, 0, seconds);
      const before = await session.server.call('usageAfterCollection');
      const tokens = ((seconds * 1000) / STOPPED.everyMs) * STOPPED.burst;
      const request = requestOf({ id: 1, tokens, ...STOPPED });
      await session.clients.call(
        'start',
        Array.from({ length: READERS }, () => request),
      );
      await wait(STOPPED.firstMs / 2);
      session.clients.freeze();
      await wait(STOPPED.firstMs / 2);
      const together = await pace(session, beside, 2, seconds);
      const after = await session.server.call('usageAfterCollection');
      return {
        wrong: alone.wrong + together.wrong,
        aloneP99: percentile(alone.latencies, 0.99),
        p99: percentile(together.latencies, 0.99),
        readerRss: (after.rss - before.rss) / READERS / 1024,
      };
    },
  };
}

async function pace(
  { server }: Session,
  clients: Remote<ClientCommands>,
  id: number,
  seconds: number,
) {
  const tokens = (seconds * 1000) / EVERY_MS;
  const request = requestOf({ id, tokens, firstMs: FIRST_MS, everyMs: EVERY_MS, timed: true });
  const deadlineMs = FIRST_MS + seconds * 1000 + LATE_MS;
  const { wrong, unfinished, arrivedAt } = await clients.call('run', [request], deadlineMs);
  const yields = (await server.call('times')).get(id);
  const arrivals = arrivedAt.get(id);
  return {
    wrong: wrong + unfinished,
    latencies: yields && arrivals ? latenciesMs(yields, arrivals, 0) : [],
  };
}
