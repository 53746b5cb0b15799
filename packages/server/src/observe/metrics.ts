import { type Counter, type Histogram, metrics } from '@opentelemetry/api';

/** What is counted, through OpenTelemetry's API: it costs nothing until a meter provider is set. */
export interface StreamMetrics {
  /** Milliseconds from request to the end of the stream, however it ended. */
  latencyMs: Histogram;
  /** UTF-16 units of the text that was streamed. */
  responseLength: Histogram;
  /** Answers that the response cache gave. */
  cacheHit: Counter;
}

export function createMetrics(): StreamMetrics {
  const meter = metrics.getMeter('rivulet');
  return {
    latencyMs: meter.createHistogram('llm_stream_latency_ms', { unit: 'ms' }),
    responseLength: meter.createHistogram('llm_stream_response_length', { unit: '{utf16_unit}' }),
    cacheHit: meter.createCounter('llm_stream_cache_hit'),
  };
}
