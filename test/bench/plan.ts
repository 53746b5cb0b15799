import { cacheHit } from './measurements/cache-hit.js';
import { firstText } from './measurements/first-text.js';
import { fullSpeed } from './measurements/full-speed.js';
import { idle } from './measurements/idle.js';
import type { Measurement } from './measurements/measurement.js';
import { paced } from './measurements/paced.js';
import { stoppedReader } from './measurements/stopped-reader.js';
import { STACKS } from './stacks/stack.js';

const COMPARED = ['ws', 'sio', 'rivulet'] as const;

/** Everything that is measured, in its order. A quick run has shorter windows and fewer stacks. */
export function createPlan(quick: boolean): Measurement[] {
  const seconds = quick ? 3 : 7;
  const all = quick ? COMPARED : STACKS;
  return [
    paced('paced-1000', STACKS, { streams: 1_000, burst: 1, seconds }),
    paced('paced-2000', all, { streams: 2_000, burst: 1, seconds }),
    paced('paced-4000', ['ws', 'rivulet'], { streams: 4_000, burst: 1, seconds }),
    paced('bursts-5', all, { streams: 1_000, burst: 5, seconds }),
    fullSpeed('full-100', STACKS, { streams: 100, tokens: quick ? 1_000 : 3_000 }),
    fullSpeed('full-1', STACKS, { streams: 1, tokens: quick ? 50_000 : 150_000 }),
    firstText('first-text', STACKS, { questions: quick ? 100 : 250 }),
    cacheHit('cache-hit', { questions: quick ? 100 : 250 }),
    idle('idle', COMPARED, { connections: 1_000 }),
    stoppedReader('stopped-reader', COMPARED, { tokens: 400_000 }),
  ];
}
