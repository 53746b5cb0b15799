import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import {
  type Attributes,
  type BatchObservableResult,
  type Counter,
  type Meter,
  type MeterProvider,
  metrics,
} from '@opentelemetry/api';

/** The metrics of connections and streams. `createMetrics` creates those of answers. */
export interface DeliveryMetrics {
  /** The number of refused connections and requests, by `reason`. */
  readonly refused: Counter;
  /**
   * Calls `read` whenever metrics are collected, and measures the delay of the event loop.
   *
   * @returns a function that stops both.
   */
  observe(read: () => DeliverySize, attributes: Attributes): () => void;
}

/** The current sizes. */
export interface DeliverySize {
  connections: number;
  readers: number;
  /** The used bytes of the memory budget. */
  logBytes: number;
  /** The limits of `connections` and `logBytes`. */
  maxConnections: number;
  maxLogBytes: number;
  isDraining: boolean;
}

/** The interval of the timer that measures the delay. The measured value includes the interval. */
const INTERVAL_MS = 20;
const NS_PER_SECOND = 1e9;

/** Creates the instruments, with the process's global meter provider unless another is given. */
export function createDeliveryMetrics(
  provider: MeterProvider = metrics.getMeterProvider(),
): DeliveryMetrics {
  const meter = provider.getMeter('rivulet');
  const gauge = (name: string, description: string) =>
    meter.createObservableGauge(name, { description });
  const connections = gauge('llm_stream_connections', 'Open connections.');
  const readers = gauge('llm_stream_readers', 'Readers of all streams.');
  const logBytes = meter.createObservableGauge('llm_stream_log_bytes', {
    unit: 'By',
    description: 'Bytes of the memory budget of streams that are used (MAX_LOG_BYTES).',
  });
  const maxConnections = gauge(
    'llm_stream_max_connections',
    'The limit of open connections (MAX_CONNECTIONS).',
  );
  const maxLogBytes = meter.createObservableGauge('llm_stream_max_log_bytes', {
    unit: 'By',
    description: 'The memory budget of streams (MAX_LOG_BYTES).',
  });
  const draining = gauge('llm_stream_draining', '1 while the server shuts down, else 0.');
  const delay = createDelayGauges(meter);
  const sizes = [connections, readers, logBytes, maxConnections, maxLogBytes, draining];
  const instruments = [...sizes, ...delay.gauges];
  return {
    refused: meter.createCounter('llm_stream_refused', {
      description: 'Connections and requests that were refused.',
    }),
    observe(read, attributes) {
      const callback = (result: BatchObservableResult): void => {
        const size = read();
        result.observe(connections, size.connections, attributes);
        result.observe(readers, size.readers, attributes);
        result.observe(logBytes, size.logBytes, attributes);
        result.observe(maxConnections, size.maxConnections, attributes);
        result.observe(maxLogBytes, size.maxLogBytes, attributes);
        result.observe(draining, size.isDraining ? 1 : 0, attributes);
        delay.observe(result);
      };
      meter.addBatchObservableCallback(callback, instruments);
      return () => {
        meter.removeBatchObservableCallback(callback, instruments);
        delay.end();
      };
    },
  };
}

/**
 * Gauges of the event loop's delay since the last collection, named by OpenTelemetry's conventions for
 * Node.js. Measuring starts with the first collection, so that it costs nothing if metrics are not collected.
 */
function createDelayGauges(meter: Meter) {
  const gauge = (name: string, description: string) =>
    meter.createObservableGauge(`nodejs.eventloop.delay.${name}`, { unit: 's', description });
  const mean = gauge('mean', 'Mean delay of the event loop.');
  const p50 = gauge('p50', 'Median delay of the event loop.');
  const p99 = gauge('p99', '99th percentile of the delay of the event loop.');
  const max = gauge('max', 'Longest delay of the event loop.');
  let histogram: IntervalHistogram | undefined;
  return {
    gauges: [mean, p50, p99, max],
    observe(result: BatchObservableResult): void {
      if (histogram === undefined) {
        histogram = monitorEventLoopDelay({ resolution: INTERVAL_MS });
        histogram.enable();
      } else if (histogram.count > 0) {
        result.observe(mean, toSeconds(histogram.mean));
        result.observe(p50, toSeconds(histogram.percentile(50)));
        result.observe(p99, toSeconds(histogram.percentile(99)));
        result.observe(max, toSeconds(histogram.max));
        histogram.reset();
      }
    },
    end(): void {
      histogram?.disable();
    },
  };
}

/** @returns seconds. */
function toSeconds(ns: number): number {
  return Math.max(0, ns / NS_PER_SECOND - INTERVAL_MS / 1000);
}
