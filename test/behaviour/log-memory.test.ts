import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogMemory, Shape } from '../harness/log-memory.js';

const PROGRAM = fileURLToPath(new URL('../harness/log-memory.ts', import.meta.url));
const run = promisify(execFile);

let folder = '';
let program = '';

// A bundle: `tsx` gives each function a name of its own, which costs memory.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rivulet-log-memory-'));
  program = join(folder, 'log-memory.mjs');
  await build({
    entryPoints: [PROGRAM],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@rivulet/source'],
  });
});

afterAll(() => rm(folder, { recursive: true }));

async function measure(shape: Shape): Promise<LogMemory> {
  const { stdout } = await run(process.execPath, ['--expose-gc', program, shape]);
  return JSON.parse(stdout) as LogMemory;
}

describe('the memory of logs', () => {
  it.each<Shape>([
    '1-unit tokens',
    '5-unit tokens',
    '5-unit tokens of short answers',
    '100-unit tokens',
    '10,000-unit tokens',
    'emoji',
    'Chinese 5-unit tokens',
    '5-unit slices of long strings',
    '20-unit slices of long strings',
    '2,000-unit slices of long strings',
    'concatenated tokens',
    'tool results',
    'long text in tool results',
    'empty logs',
    'logs of a few words',
    'streams of a few words, as many as there is room for',
  ])('is close to the bytes that they account for: %s', async (shape) => {
    const { accounted, heap } = await measure(shape);
    expect(heap).toBeLessThan(1.5 * accounted);
    // Latin-1 text needs one of the two bytes that each unit counts.
    expect(heap).toBeGreaterThan(0.45 * accounted);
  });

  it('is at most twice what they account for as the system sees it, when much is held', async () => {
    const { accounted, heap, rss } = await measure('many long answers');
    expect(accounted).toBeGreaterThan(200_000_000);
    expect(heap).toBeLessThan(1.5 * accounted);
    expect(rss).toBeLessThan(2 * accounted);
  });
});
