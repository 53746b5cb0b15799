import { answerLength } from './measurements/answer-length.js';
import { cacheHit } from './measurements/cache-hit.js';
import { churn } from './measurements/churn.js';
import { firstText } from './measurements/first-text.js';
import { fullSpeed } from './measurements/full-speed.js';
import { idle } from './measurements/idle.js';
import type { Measurement } from './measurements/measurement.js';
import { paced } from './measurements/paced.js';
import { stoppedReader } from './measurements/stopped-reader.js';
import { watchers } from './measurements/watchers.js';
import { STACKS } from './stacks/stack.js';

const COMPARED = ['ws', 'sio', 'rivulet'] as const;
const UNITS_A_KB = 1_000;
const TOKENS_A_KB = 200;

/** Everything that is measured, in its order. A quick run has shorter windows, fewer stacks and points. */
export function createPlan(quick: boolean): Measurement[] {
  // The AI SDK needs about three seconds of CPU to start 1,000 streams.
  const pace = quick ? { settlingMs: 1_200, seconds: 2.5 } : { settlingMs: 3_500, seconds: 8 };
  const withoutAi = ['ws', 'sse', 'sio', 'rivulet'] as const;
  const most = quick ? COMPARED : withoutAi;
  /** Tokens in all, for answers of each length. */
  const lengthTokens = quick ? 40_000 : 200_000;
  return [
    paced('paced-1000', quick ? withoutAi : STACKS, { streams: 1_000, burst: 1, ...pace }),
    paced('paced-2000', most, { streams: 2_000, burst: 1, ...pace }),
    paced('paced-4000', ['ws', 'rivulet'], { streams: 4_000, burst: 1, ...pace }),
    paced('bursts-5', most, { streams: 1_000, burst: 5, ...pace }),
    fullSpeed('full-100', STACKS, { streams: 100, tokens: quick ? 600 : 3_000 }),
    fullSpeed('full-1', STACKS, { streams: 1, tokens: quick ? 30_000 : 150_000 }),
    firstText('first-text', STACKS, { questions: quick ? 100 : 250 }),
    cacheHit('cache-hit', { questions: quick ? 100 : 250 }),
    idle('idle', COMPARED, { connections: 1_000 }),
    stoppedReader('stopped-reader', COMPARED, { tokens: 400_000 }),
    ...(quick ? (['ollama'] as const) : (['ollama', 'gemini'] as const)).map((api) =>
      fullSpeed(`relay-${api}`, COMPARED, { streams: 20, tokens: quick ? 1_000 : 5_000, api }),
    ),
    churn('churn', { streams: quick ? 2_000 : 10_000 }),
    ...(quick ? [1, 100] : [1, 10, 100]).map((streams) =>
      paced(`paced-${streams}`, COMPARED, { streams, burst: 1, ...pace }),
    ),
    ...(quick ? [1, 1_000] : [1, 10, 100, 1_000]).map((kilobytes) =>
      answerLength(`length-${kilobytes}`, COMPARED, {
        units: kilobytes * UNITS_A_KB,
        answers: Math.max(1, lengthTokens / (kilobytes * TOKENS_A_KB)),
      }),
    ),
    ...(quick ? [1, 100] : [1, 10, 100]).map((readers) =>
      watchers(`watchers-${readers}`, COMPARED, { readers, seconds: quick ? 2 : 5 }),
    ),
  ];
}
