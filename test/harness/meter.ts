import type { Attributes, MeterProvider as ApiMeterProvider } from '@opentelemetry/api';
import { type MetricData, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';

/** A data point: how often a histogram was recorded and the sum of it, or the value of anything else. */
export interface Point {
  attributes: Attributes;
  value: number;
  sum?: number | undefined;
}

export interface TestMeter {
  provider: ApiMeterProvider;
  /** All that was recorded so far, by the metric's name. */
  read(): Promise<Record<string, Point[]>>;
}

class TestReader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

/** OpenTelemetry's own SDK, read by the test. */
export function testMeter(): TestMeter {
  const reader = new TestReader();
  return {
    provider: new MeterProvider({ readers: [reader] }),
    async read() {
      const { resourceMetrics, errors } = await reader.collect();
      if (errors.length > 0) throw new AggregateError(errors);
      const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
      return Object.fromEntries(metrics.map((m) => [m.descriptor.name, m.dataPoints.map(toPoint)]));
    },
  };
}

function toPoint({ attributes, value }: MetricData['dataPoints'][number]): Point {
  if (typeof value === 'number') return { attributes, value };
  return { attributes, value: value.count, sum: value.sum };
}
