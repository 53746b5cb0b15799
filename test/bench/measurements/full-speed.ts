import { requestOf } from '../session.js';
import type { Outcome } from '../processes/clients.js';
import type { Model, StackName } from '../stacks/stack.js';
import type { Measurement } from './measurement.js';

const DEADLINE_MS = 60_000;

/** Streams as fast as both processes can, in bursts of 16: what a token costs. */
export function fullSpeed(
  id: string,
  stacks: readonly StackName[],
  { streams, tokens, api }: { streams: number; tokens: number; api?: Model['api'] },
): Measurement {
  return {
    id,
    stacks,
    ...(api && { api }),
    async run(session) {
      await session.warm(20_000);
      await session.connect(streams);
      await session.server.call('usageAfterCollection');
      const requests = Array.from({ length: streams }, (_, i) =>
        requestOf({ id: i, tokens, burst: 16 }),
      );
      let outcome: Outcome | undefined;
      const used = await session.measure(async () => {
        outcome = await session.clients.call('run', requests, DEADLINE_MS);
      });
      const { tokens: arrived = 0, wrong = 0, unfinished = 0 } = outcome ?? {};
      return {
        wrong: wrong + unfinished,
        serverCpu: used.serverCpu / arrived,
        clientCpu: used.clientCpu / arrived,
        tokensPerSecond: arrived / used.seconds,
      };
    },
  };
}
