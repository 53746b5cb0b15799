import { describe, expect, it } from 'vitest';
import { PROCESS_FAULTS, runRedisChaos } from '../chaos/redis/run.js';

const SECONDS = 90;

describe('ten streams over three servers, whose connections, servers and Redis break', () => {
  it(
    'arrive exact, with one writer at a time, and leave nothing behind',
    { timeout: 4 * SECONDS * 1000 },
    async () => {
      const seed = process.env['SEED'] ?? String(Date.now());
      const report = await runRedisChaos({
        seed,
        nodes: 3,
        visitors: 2,
        processes: 1,
        streamsPerVisitor: 5,
        longestMs: 2_000,
        faults: 40,
        processFaults: 6,
        linksBreak: true,
        kinds: PROCESS_FAULTS,
        restMs: 200,
        faultsMeet: false,
        timeLimitMs: SECONDS * 1000,
      });
      expect(report.violations, `SEED=${seed}`).toEqual([]);
      expect(report.answers).toBeGreaterThan(10);
      expect(report).toMatchObject({ left: { sockets: 0, generations: 0 } });
    },
  );
});
