import { describe, expect, it } from 'vitest';
import { runChaos } from '../chaos/run.js';

const SECONDS = 60;

describe('ten streams whose connections are broken a hundred times', () => {
  it(
    'arrive exact, without a second generation, and leave nothing behind',
    { timeout: 2 * SECONDS * 1000 },
    async () => {
      const seed = process.env['SEED'] ?? String(Date.now());
      const report = await runChaos({
        seed,
        clients: 8,
        processes: 1,
        plainClients: 2,
        streamsPerClient: 1,
        longestMs: 800,
        drops: 100,
        timeLimitMs: SECONDS * 1000,
      });
      expect(report.violations, `SEED=${seed}`).toEqual([]);
      expect(report).toMatchObject({
        generatedTwice: 0,
        generations: report.answers,
        left: { sockets: 0, generations: 0 },
      });
    },
  );
});
