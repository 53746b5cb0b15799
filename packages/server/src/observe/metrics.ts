import {
  type Context,
  context,
  type Counter,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
  type UpDownCounter,
} from '@opentelemetry/api';
import { createGauges, type Gauges } from './gauges.js';
import { createGenAiMetrics } from './gen-ai.js';
import { ModelCall } from './model-call.js';

/**
 * The metrics of answers, through OpenTelemetry's API. Attributes are names of providers, models and
 * outcomes: few values, and none from a user.
 */
export interface StreamMetrics {
  /** Milliseconds from the request to the end of the stream, for every outcome. */
  latencyMs: Histogram;
  /** Milliseconds from the request to the first text, if there was one. */
  firstChunkMs: Histogram;
  /** UTF-16 units of the streamed text. */
  responseLength: Histogram;
  /** Answers from the response cache. */
  cacheHit: Counter;
  /** Answers in progress. */
  active: UpDownCounter;
  /** Changes to the next provider after a failure. */
  fallback: Counter;
  /** Messages of the context that were left out because a prompt did not fit its model. */
  omittedMessages: Counter;
  gauges: Gauges;
  /**
   * Starts to measure a call of a model. Call `end` on the result for every outcome. Its span is a child of
   * the span in `parent`; the active context unless given.
   */
  beginModelCall(provider: string, model: string, parent?: Context): ModelCall;
}

const MILLISECONDS = [
  5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000,
  240_000,
];
const UNITS = [
  100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000,
];
const TOKENS_PER_SECOND = [1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1_000];

/**
 * Creates the instruments, with the process's global meter provider unless another is given. A global meter
 * provider that is registered later receives nothing.
 */
export function createMetrics(provider: MeterProvider = metrics.getMeterProvider()): StreamMetrics {
  const meter = provider.getMeter('rivulet');
  const genAi = createGenAiMetrics(meter);
  const tokensPerSecond = histogram(
    meter,
    'llm_stream_tokens_per_second',
    '{token}/s',
    'Output tokens a second while text came.',
    TOKENS_PER_SECOND,
  );
  return {
    latencyMs: histogram(
      meter,
      'llm_stream_latency_ms',
      'ms',
      'From request to the end of the answer, however it ended.',
      MILLISECONDS,
    ),
    firstChunkMs: histogram(
      meter,
      'llm_stream_first_chunk_ms',
      'ms',
      'From request to the first text.',
      MILLISECONDS,
    ),
    responseLength: histogram(
      meter,
      'llm_stream_response_length',
      '{utf16_unit}',
      'Length of the text that was streamed.',
      UNITS,
    ),
    cacheHit: meter.createCounter('llm_stream_cache_hit', {
      description: 'Answers that the response cache gave.',
    }),
    active: meter.createUpDownCounter('llm_stream_active', {
      description: 'Answers that are being generated.',
    }),
    fallback: meter.createCounter('llm_stream_fallback', {
      description: 'Providers that were given up for the next.',
    }),
    omittedMessages: meter.createCounter('llm_stream_omitted_messages', {
      description: 'Messages of the context that were left out because they did not fit the model.',
    }),
    gauges: createGauges(meter),
    beginModelCall: (name, model, parent = context.active()) =>
      new ModelCall(genAi, tokensPerSecond, name, model, parent),
  };
}

function histogram(
  meter: Meter,
  name: string,
  unit: string,
  description: string,
  explicitBucketBoundaries: number[],
): Histogram {
  return meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries } });
}
