import { requestOf } from '../session.js';
import type { StackName } from '../stacks/stack.js';
import { percentile } from '../statistics.js';
import type { Measurement } from './measurement.js';

const WARM_UP = 20;

/** One question after another on one connection: the time from the question to the first text. */
export function firstText(
  id: string,
  stacks: readonly StackName[],
  { questions }: { questions: number },
): Measurement {
  return {
    id,
    stacks,
    async run(session) {
      await session.warm(2_000);
      await session.connect(1);
      const requestsOf = (firstId: number, count: number) =>
        Array.from({ length: count }, (_, i) =>
          requestOf({ id: firstId + i, tokens: 3, everyMs: 1 }),
        );
      await session.clients.call('ask', requestsOf(0, WARM_UP));
      let asked = await session.clients.call('ask', []);
      await session.measure(async () => {
        asked = await session.clients.call('ask', requestsOf(WARM_UP, questions));
      });
      return {
        wrong: asked.wrong,
        p50: percentile(asked.firstMs, 0.5),
        p99: percentile(asked.firstMs, 0.99),
      };
    },
  };
}
