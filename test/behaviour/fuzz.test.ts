import { describe, expect, it } from 'vitest';
import { runFuzz } from '../fuzz/run.js';

describe('a server that receives 3,000 arbitrary packets', () => {
  it('goes on, answers no `internal`, keeps no memory, and gives other users their text', async () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e9);
    const report = await runFuzz({ seed, messages: 3_000, victims: 3 });
    expect(report.violations, `SEED=${seed}`).toEqual([]);
    expect(report.answers).toBeGreaterThan(0);
  }, 120_000);
});
