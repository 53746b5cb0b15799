import { requestOf } from '../session.js';
import { percentile } from '../statistics.js';
import type { Measurement } from './measurement.js';

const ANSWERS = 20;
/** About 5 KB. */
const TOKENS = 1_000;

/** Questions that the server has answered before: the time until the client has the whole answer. */
export function cacheHit(id: string, { questions }: { questions: number }): Measurement {
  return {
    id,
    stacks: ['rivulet'],
    serve: { cache: true },
    async run(session) {
      await session.connect(1);
      const requestsOf = (count: number) =>
        Array.from({ length: count }, (_, i) =>
          requestOf({ id: i % ANSWERS, tokens: TOKENS, burst: 16 }),
        );
      const first = await session.clients.call('ask', requestsOf(ANSWERS));
      await session.clients.call('ask', requestsOf(ANSWERS));
      let asked = first;
      const used = await session.measure(async () => {
        asked = await session.clients.call('ask', requestsOf(questions));
      });
      if (used.emitted > 0) throw new Error('unable to measure a cache hit: the model was asked');
      return {
        wrong: first.wrong + asked.wrong,
        p50: percentile(asked.wholeMs, 0.5),
        p99: percentile(asked.wholeMs, 0.99),
      };
    },
  };
}
