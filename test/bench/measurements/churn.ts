import { setTimeout as wait } from 'node:timers/promises';
import { requestOf, type Session } from '../session.js';
import type { Measurement } from './measurement.js';

const CONNECTIONS = 100;
const RETENTION_MS = 500;
const WARM_ROUNDS = 30;
const DEADLINE_MS = 20_000;

/** Streams that come and go: what is left of them on the server once finished streams are dropped. */
export function churn(id: string, { streams }: { streams: number }): Measurement {
  return {
    id,
    stacks: ['rivulet'],
    serve: { retentionMs: RETENTION_MS },
    async run(session) {
      await session.connect(CONNECTIONS);
      let wrong = await runRounds(session, WARM_ROUNDS);
      const before = await session.server.call('usageAfterCollection');
      const resourcesBefore = await session.server.call('resources');
      wrong += await runRounds(session, streams / CONNECTIONS);
      const after = await session.server.call('usageAfterCollection');
      const resources = await session.server.call('resources');
      return {
        wrong,
        heapBytes: (after.heap - before.heap) / streams,
        resources: resources - resourcesBefore,
      };
    },
  };
}

/** @returns the number of wrong streams. */
async function runRounds({ clients }: Session, rounds: number): Promise<number> {
  let wrong = 0;
  for (let round = 0; round < rounds; round++) {
    const requests = Array.from({ length: CONNECTIONS }, (_, i) =>
      requestOf({ id: i, tokens: 20, burst: 16 }),
    );
    const outcome = await clients.call('run', requests, DEADLINE_MS);
    wrong += outcome.wrong + outcome.unfinished;
  }
  // Streams are dropped in batches after their time.
  await wait(3 * RETENTION_MS);
  return wrong;
}
