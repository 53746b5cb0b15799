import { requestOf } from '../session.js';
import type { StackName } from '../stacks/stack.js';
import { percentile } from '../statistics.js';
import type { Measurement } from './measurement.js';

const UNITS_A_TOKEN = 5;

/** Answers of about `units`, one after another at full speed: whether a token's cost grows with them. */
export function answerLength(
  id: string,
  stacks: readonly StackName[],
  { units, answers }: { units: number; answers: number },
): Measurement {
  return {
    id,
    stacks,
    async run(session) {
      await session.warm(20_000);
      await session.connect(1);
      const tokens = Math.ceil(units / UNITS_A_TOKEN);
      const requests = Array.from({ length: answers }, (_, i) =>
        requestOf({ id: i, tokens, burst: 16 }),
      );
      let asked = await session.clients.call('ask', []);
      const used = await session.measure(async () => {
        asked = await session.clients.call('ask', requests);
      });
      return {
        wrong: asked.wrong,
        serverCpu: used.serverCpu / used.emitted,
        clientCpu: used.clientCpu / used.emitted,
        whole: percentile(asked.wholeMs, 0.5),
      };
    },
  };
}
